"""`osd-edge serve --export`: the folder, served by Python's own web server of files."""

import hashlib
import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from osd_edge.errors import InputError
from osd_edge.exporters import export_base
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.named_bundle import NamedBundle
from osd_edge.serve.catalogue import served_files
from osd_edge.serve.served_file import served_file
from osd_edge.serve.site import write_site
from tests.serve.serving import PATIENCE
from tests.support import tiny
from tests.support.command_line import Result, run_cli


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@contextmanager
def _served(folder: Path) -> Iterator[http.client.HTTPConnection]:
    """A connection to Python's web server of `folder`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        port = server.server_address[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        yield connection
        connection.close()
        server.shutdown()


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, path
    return body


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "ort").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>page</title>", "utf-8")
    (folder / "ort" / "ort.wasm").write_bytes(bytes(range(256)))
    (folder / ".hidden").write_text("no", "utf-8")
    return folder


def _export(
    capsys: pytest.CaptureFixture[str], base: Path, bundles: tuple[Path, ...], page: Path, to: Path
) -> Result:
    given = [word for path in bundles for word in ("--bundle", path)]
    return run_cli(capsys, "serve", "--base", base, *given, "--page", page, "--export", to)


@pytest.mark.parametrize("below", ["", "/some/where"])
def test_any_web_server_of_files_serves_it_at_its_root_or_below(
    below: str,
    page: Path,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = tmp_path / "root" / below.strip("/")
    done = _export(capsys, tiny_base, tiny_bundles, page, site)
    assert done.code == 0 and done.out.startswith(f"{site}: page, base and 2 tasks, ")
    with _served(tmp_path / "root") as connection:
        assert b"<title>page" in _get(connection, f"{below}/")
        assert _get(connection, f"{below}/ort/ort.wasm") == bytes(range(256))
        catalogue = json.loads(_get(connection, f"{below}/catalogue.json"))
        base = catalogue["base"]
        manifest = _get(connection, f"{below}/{base['url']}manifest.json")
        assert hashlib.sha256(manifest).hexdigest() == base["sha256"]
        for name in ("model.onnx", "model.onnx.data", "tokenizer.json"):
            body = _get(connection, f"{below}/{base['url']}{name}")
            assert body == (tiny_base / name).read_bytes()
        for task, path in zip(catalogue["tasks"], tiny_bundles, strict=True):
            body = _get(connection, f"{below}/{task['url']}")
            assert body == path.read_bytes() and read_bundle(body).task == task["task"]
    assert not list(site.rglob(".*"))


def test_a_folder_that_is_there_is_refused_and_stays(
    page: Path,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine").write_text("mine", "utf-8")
    refused = _export(capsys, tiny_base, tiny_bundles, page, tmp_path)
    assert refused.code == 1 and "[output.exists]" in refused.err
    assert (tmp_path / "mine").read_text("utf-8") == "mine"


def test_a_file_that_is_replaced_meanwhile_leaves_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"before")
    entries = {"/model.onnx": served_file(file)}
    file.write_bytes(b"afterwards")
    with pytest.raises(InputError, match="was replaced"):
        write_site(entries, tmp_path / "site")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_options_of_a_server_are_refused_beside_it(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    refused = run_cli(
        capsys,
        *("serve", "--base", tiny_base, "--bundle", tiny_bundles[0], "--export", "site"),
        *("--host", "0.0.0.0", "--port", "80"),
    )
    assert refused.code == 2 and "leave out --host, --port" in refused.err


def test_a_site_within_what_it_is_made_of_is_refused(
    page: Path,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    for site in (base / "site", page / "site"):
        refused = _export(capsys, base, tiny_bundles, page, site)
        assert refused.code == 1 and "[output.same]" in refused.err and not site.exists()


def test_a_base_that_no_browser_opens_is_not_written(
    page: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = tmp_path / "package"
    export_base(tiny.make_base("bert", tmp_path / "base"), package, vectors=True)
    refused = _export(capsys, package, tiny_bundles, page, tmp_path / "site")
    assert refused.code == 1 and "[base.version]" in refused.err and "--vectors" in refused.err


@pytest.mark.parametrize("bundles", [3, b"x.osd.safetensors", [3], None])
def test_bundles_that_are_no_paths_are_refused(page: Path, tiny_base: Path, bundles: Any) -> None:
    with pytest.raises(InputError) as refused:
        served_files(page, tiny_base, bundles)
    assert refused.value.code == "input.path"


def test_one_bundle_may_stand_for_itself(
    page: Path, tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    one = NamedBundle(tiny_bundles[0])
    listed = set(served_files(page, tiny_base, [one]))
    assert set(served_files(page, tiny_base, one)) == listed
    assert set(served_files(page, tiny_base, str(tiny_bundles[0]))) == listed


def test_a_name_that_is_a_path_names_no_file(tiny_bundles: tuple[Path, Path]) -> None:
    names: tuple[Any, ...] = ("../../evil", "", 3)
    for name in names:
        with pytest.raises(InputError) as refused:
            NamedBundle(tiny_bundles[0], name)
        assert refused.value.code == "input.task-name"
