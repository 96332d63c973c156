"""Writing: the old file or the new one, never half of one, and nothing left lying about."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from osd_edge.data import exchange
from osd_edge.data.files import check_file_writable, check_folder_free, staged_folder, write_file
from osd_edge.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(number: int) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def package(path: Path, text: str = "old") -> Path:
    path.mkdir()
    (path / "manifest.json").write_text(manifest(text))
    return path


def manifest(text: str) -> str:
    return json.dumps({"fingerprint": text, "files": {"stale": {}}})


def test_a_link_stays_and_a_pipe_takes_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    check_file_writable(tmp_path / "pipe")
    write_file(tmp_path / "pipe", b"through")
    assert os.read(reading, 100) == b"through"
    os.close(reading)
    assert names(tmp_path) == ["file", "link", "pipe"]


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, b"old")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.mkdir"])
@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "output.disk-full"), (errno.EIO, "output.unwritable")],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, number: int, code: str
) -> None:
    path = tmp_path / "a"
    write_file(path, b"old")
    monkeypatch.setattr(broken, failing(number))
    with pytest.raises(OutputError) as refused:
        write_file(path, b"new")
    monkeypatch.undo()
    assert refused.value.code == code
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    for check in (lambda p: write_file(p, b""), check_file_writable):
        with pytest.raises(OutputError) as refused:
            check(tmp_path / "absent" / "a")
        assert refused.value.code == "output.unwritable"
    assert names(tmp_path) == []


def test_checking_a_file_leaves_nothing(tmp_path: Path) -> None:
    check_file_writable(tmp_path / "a")
    assert names(tmp_path) == []
    with pytest.raises(OutputError, match="is a folder"):
        check_file_writable(tmp_path)


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "base"
    with staged_folder(path) as staging:
        (staging / "inner").mkdir()
        (staging / "inner" / "a").write_text(manifest("new"))
        assert not path.exists()
    assert (path / "inner" / "a").read_text() == manifest("new")
    assert names(path.parent) == ["base"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_failure_of_ones_own_passes_and_leaves_nothing(
    tmp_path: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)), staged_folder(tmp_path / "base") as staging:
        (staging / "a").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_old_folder(tmp_path: Path) -> None:
    path = package(tmp_path / "base")
    with (
        pytest.raises(OutputError) as refused,
        staged_folder(path, overwrite=True) as staging,
    ):
        (staging / "a").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert refused.value.code == "output.disk-full"
    assert (path / "manifest.json").read_text() == manifest("old")
    assert names(tmp_path) == ["base"]


def test_overwrite_replaces_an_earlier_package(tmp_path: Path) -> None:
    path = package(tmp_path / "base")
    (path / "stale").write_text("")
    with staged_folder(path, overwrite=True) as staging:
        (staging / "manifest.json").write_text(manifest("new"))
    assert names(path) == ["manifest.json"]
    assert (path / "manifest.json").read_text() == manifest("new")
    assert names(tmp_path) == ["base"]


def test_a_failed_swap_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = package(tmp_path / "base")
    rename = Path.rename

    def only_the_old(self: Path, target: Path) -> Path:
        if target == path and (self / "manifest.json").read_text() == manifest("new"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(exchange, "exchange", lambda *_: False)  # a system that cannot
    monkeypatch.setattr(Path, "rename", only_the_old)
    with (
        pytest.raises(OutputError),
        staged_folder(path, overwrite=True) as staging,
    ):
        (staging / "manifest.json").write_text(manifest("new"))
    assert (path / "manifest.json").read_text() == manifest("old")
    assert names(tmp_path) == ["base"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    path = tmp_path / "base"
    path.mkdir()
    with staged_folder(path) as staging:
        (staging / "a").write_text("")
    assert names(tmp_path) == ["base"]
    assert names(path) == ["a"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_package_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letters").write_text("dear")
    file = tmp_path / "file"
    file.write_text("")
    for path in (home, file):
        with (
            pytest.raises(OutputError) as refused,
            staged_folder(path, overwrite=overwrite),
        ):
            raise AssertionError("refused before anything is made")
        assert refused.value.code == "output.exists"
    assert names(tmp_path) == ["file", "home"]
    assert (home / "letters").read_text() == "dear"


@pytest.mark.parametrize("text", ['{"name": "a web app"}', "no JSON", "[]"])
def test_a_manifest_of_something_else_protects_its_folder(tmp_path: Path, text: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text(text)
    with pytest.raises(OutputError):
        check_folder_free(tmp_path / "app", overwrite=True)


def test_a_package_with_a_file_of_the_users_is_kept(tmp_path: Path) -> None:
    path = package(tmp_path / "base")
    (path / "precious.txt").write_text("")
    with pytest.raises(OutputError):
        check_folder_free(path, overwrite=True)


def test_without_overwrite_not_even_a_package_is_replaced(tmp_path: Path) -> None:
    path = package(tmp_path / "base")
    with pytest.raises(OutputError, match="--overwrite") as refused:
        check_folder_free(path, overwrite=False)
    assert refused.value.code == "output.exists"
    check_folder_free(path, overwrite=True)
    check_folder_free(tmp_path / "absent", overwrite=False)


def test_a_folder_that_may_be_written_to_and_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = os.open

    def refusing(path: Any, flags: int, *given: Any, **named: Any) -> int:
        if Path(path) == tmp_path and not flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return usual(path, flags, *given, **named)

    monkeypatch.setattr(os, "open", refusing)
    write_file(tmp_path / "file", b"new")
    with staged_folder(tmp_path / "folder") as folder:
        (folder / "file").write_bytes(b"new")
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder" / "file").read_bytes() == b"new"


@pytest.mark.parametrize("lock", ["link to nothing", "link to a file", "pipe"])
def test_a_lock_that_is_no_file_ends_in_a_refusal(tmp_path: Path, lock: str) -> None:
    staging = tmp_path / ".file.osd-edge"
    staging.mkdir()
    (tmp_path / "theirs").write_bytes(b"theirs")
    if lock == "pipe":
        os.mkfifo(staging / "lock")
    else:
        (staging / "lock").symlink_to(tmp_path / ("absent" if "nothing" in lock else "theirs"))
    with pytest.raises(OutputError), staged_folder(tmp_path / "file"):
        pass
    assert not (tmp_path / "absent").exists()
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_that_unwinds_leaves_its_parents_staging(tmp_path: Path) -> None:
    making = staged_folder(tmp_path / "folder")
    folder = making.__enter__()
    child = os.fork()
    if not child:
        try:
            making.__exit__(SystemExit, SystemExit(), None)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    (folder / "file").write_bytes(b"new")
    making.__exit__(None, None, None)
    assert names(tmp_path) == ["folder"]
