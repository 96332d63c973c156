"""The folder of the page: only files of it are served, those that were there."""

import os
from pathlib import Path

import pytest

from osd_edge.errors import InputError
from osd_edge.serve.handler import POLICY
from osd_edge.serve.page import page_files
from osd_edge.serve.served_file import served_file
from tests.project.rooms import PROJECT
from tests.serve.serving import get, running


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("page", "utf-8")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.pem").write_text("secret", "utf-8")
    return folder


@pytest.mark.parametrize(
    "target", ["../secret/key.pem", "/etc/passwd", "../page/../secret/key.pem"]
)
def test_a_link_that_leads_out_is_refused(page: Path, target: str) -> None:
    (page / "link.js").symlink_to(target)
    with pytest.raises(InputError) as refused:
        page_files(page)
    assert refused.value.code == "input.page"
    assert "link.js is a link" in str(refused.value)


@pytest.mark.parametrize("target", ["../secret", "inner"])
def test_a_linked_folder_is_refused(page: Path, target: str) -> None:
    """Its files would not be served, and a page without them would not say why."""
    (page / "inner").mkdir()
    (page / "more").symlink_to(target)
    with pytest.raises(InputError, match="more is a link to a folder") as refused:
        page_files(page)
    assert refused.value.code == "input.page"


def test_a_link_inside_is_served_and_so_is_a_page_that_is_linked(page: Path) -> None:
    (page / "same.html").symlink_to("index.html")
    (page / "nowhere").symlink_to("nothing")
    linked = page.parent / "linked"
    linked.symlink_to("page")
    with running(page_files(linked)) as server:
        assert get(server, "/same.html")[::2] == (200, b"page")
        assert get(server, "/nowhere")[0] == 404


def test_a_link_that_comes_later_is_not_followed(page: Path) -> None:
    """Even one to a file of the same size and time."""
    index, key = page / "index.html", page.parent / "secret" / "key.pem"
    key.write_text("SECR", "utf-8")
    with running(page_files(page)) as server:
        assert get(server, "/")[::2] == (200, b"page")
        status = index.stat()
        os.utime(key, ns=(status.st_atime_ns, status.st_mtime_ns))
        index.unlink()
        index.symlink_to(key)
        assert get(server, "/")[::2] == (404, b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a path")
def test_a_pipe_that_comes_later_is_not_waited_for(page: Path) -> None:
    with running(page_files(page)) as server:
        (page / "index.html").unlink()
        os.mkfifo(page / "index.html")
        assert get(server, "/")[::2] == (404, b"")


def test_a_base_of_links_is_served(tmp_path: Path) -> None:
    """A hub's cache holds its files so."""
    (tmp_path / "blob").write_bytes(b"weights")
    (tmp_path / "weights").symlink_to("blob")
    with running({"/weights": served_file(tmp_path / "weights", fixed=True)}) as server:
        assert get(server, "/weights")[::2] == (200, b"weights")


def test_the_page_has_the_policy_of_the_header() -> None:
    """Less what a browser takes from a header alone; before everything that it is for."""
    page = (PROJECT / "runtime" / "web" / "demo" / "index.html").read_text("utf-8")
    inside = POLICY.removesuffix("; frame-ancestors 'none'")
    assert inside != POLICY
    element = f'http-equiv="Content-Security-Policy"\n      content="{inside}"\n'
    assert page.count(element) == page.count("Content-Security-Policy") == 1
    for later in ("<script", "<link", "<style", "<title"):
        assert later not in page[: page.index(element)]
