"""Writes files so that nobody ever sees half of one.

Everything is written in a folder beside its final name, flushed to the disk, and renamed: a
reader has the old file or the new one, and a failure leaves the old one. What a run leaves that is
killed, the next one removes (`osd_edge/data/staging.py`).
"""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from osd_edge.data.disk_sync import sync_folder, sync_tree
from osd_edge.data.exchange import replace_folder
from osd_edge.data.own_errors import let_pass
from osd_edge.data.staging import NEW, OLD, staging_beside
from osd_edge.errors import Code, OutputError, shown

_OTHER_WRITER_SECONDS = 10.0  # a file takes much less; a writer that is stopped takes for ever


def write_file(path: Path, data: bytes) -> None:
    """Writes `data` to `path` atomically; raises OutputError and leaves nothing behind.

    A link stays, and the file that it stands for is replaced. Into a pipe or a device the data
    simply goes.
    """
    write_files({path: data})


def write_files(files: Mapping[Path, bytes]) -> None:
    """Writes several files atomically: a failure leaves none of them."""
    staged: list[tuple[Path, Path]] = []
    at = Path()
    try:
        with contextlib.ExitStack() as folders:
            for at, data in files.items():
                if is_special(at):  # before what it stands for: a pipe has a name in no folder
                    at.write_bytes(data)
                    continue
                final = real_path(at)
                if final.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                staging = staging_beside(final, wait_seconds=_OTHER_WRITER_SECONDS)
                new = folders.enter_context(staging) / NEW
                with new.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                staged.append((new, final))
            for new, at in staged:
                new.replace(at)
            for parent in {final.parent for _, final in staged}:
                sync_folder(parent)
    except OSError as error:
        raise output_error(at, error) from error


@contextlib.contextmanager
def staged_folder(path: Path, *, overwrite: bool | None = None) -> Iterator[Path]:
    """Gives a folder to fill; on success it becomes `path`, on any failure it vanishes.

    `overwrite` is None where the user has no such choice.

    Raises OutputError: `output.exists` where `path` is there already and `overwrite` is not
    set, `output.busy` where another run is making it, `output.disk-full` or `output.unwritable`
    where the disk refuses.
    """
    path = real_path(path)  # never "."
    check_folder_free(path, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging_beside(path) as staging:
            check_folder_free(path, overwrite=overwrite)  # a killed run's may be back
            new = staging / NEW
            new.mkdir()
            yield new
            for file in new.rglob("*"):
                if file.is_file():
                    file.chmod(0o666 & ~_umask())
            sync_tree(new)
            check_folder_free(path, overwrite=overwrite)  # hours may have passed
            replace_folder(new, path, staging / OLD)
            sync_folder(path.parent)  # before the old one is removed
            sync_folder(staging)
    except OSError as error:
        raise output_error(path, error) from error


@contextlib.contextmanager
def locked_output(path: Path) -> Iterator[Path]:
    """Keeps `path` from other runs, and gives a folder for what is needed for a while.

    Raises OutputError: `output.busy` where another run holds it, `output.unwritable`.
    """
    with contextlib.ExitStack() as folders:
        try:
            scratch = folders.enter_context(staging_beside(real_path(path))) / NEW
            scratch.mkdir()
        except OSError as error:
            raise output_error(path, error) from error
        yield scratch


def make_folder(path: Path) -> None:
    """Makes `path` and the folders above it; raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def check_folder_free(path: Path, *, overwrite: bool | None) -> None:
    """Refuses (`output.exists`) a folder that holds something and may not be replaced.

    Even `overwrite` replaces only an earlier base package: a folder whose manifest lists all
    that is in it.
    """
    kind = kind_at(path)
    if kind is None or (kind == "folder" and not any(path.iterdir())):
        return
    if not overwrite or not _is_package(path):
        hint = ", or use --overwrite to replace an earlier base package" * (overwrite is False)
        raise OutputError(Code.OUTPUT_EXISTS, f"{path} is there already: name another folder{hint}")


def _is_package(path: Path) -> bool:
    try:
        fields = json.loads((path / "manifest.json").read_text("utf-8"))
        return {"fingerprint", "files"} <= set(fields) and {
            entry.name for entry in path.iterdir()
        } <= {"manifest.json", *fields["files"]}
    except (OSError, ValueError, TypeError):
        return False


def check_file_writable(path: Path) -> None:
    """Refuses early, before minutes of work, a file whose folder cannot be written to.

    What an earlier run has left there that was killed is removed.
    """
    if kind_at(path) == "folder":
        raise OutputError(
            Code.OUTPUT_UNWRITABLE, f"{path} is a folder; expected the name of a file"
        )
    if is_special(path):
        return
    path = real_path(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # whose name may be too long
        with staging_beside(path, wait_seconds=_OTHER_WRITER_SECONDS):
            pass
    except OSError as error:
        raise output_error(path, error) from error


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuses (`output.same`) outputs of one name, or that would replace or lie in an input.

    `outputs` has each file to write under the option that names it.
    """
    taken: dict[str, str] = {}
    there = [Path(path) for path in inputs if path is not None]
    sources = {os.path.realpath(path) for path in there if kind_at(path) is not None}
    for option, path in outputs.items():
        if path is None or is_special(path):
            continue
        real = str(real_path(path))
        if real in taken:
            raise OutputError(Code.OUTPUT_SAME, f"{taken[real]} and {option} both name {path}")
        if any(real == source or real.startswith(source + os.sep) for source in sources):
            raise OutputError(
                Code.OUTPUT_SAME, f"{option} {path} would replace what is read: name another file"
            )
        taken[real] = option


def real_path(path: Path) -> Path:
    """Gives what a link stands for; refuses (`output.unwritable`) what no file can be named."""
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:  # a null byte, or half a surrogate pair
        raise OutputError(
            Code.OUTPUT_UNWRITABLE, f"expected a file's name, found {shown(repr(str(path)))}"
        ) from error


def check_unicode(path: Path) -> None:
    """Refuses (`output.unwritable`) a name that is no Unicode: other programs cannot take it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise OutputError(
            Code.OUTPUT_UNWRITABLE, f"expected a name in Unicode, found {shown(repr(str(path)))}"
        ) from None


def is_special(path: Path) -> bool:
    """Says whether something is at `path` that is neither a file nor a folder."""
    return kind_at(path) == "other"


def kind_at(path: Path) -> str | None:
    """Tells whether a `file`, a `folder` or something `other` is at `path`.

    It is None where nothing is, or can be seen: a name that is too long, in a closed folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def output_error(path: Path, error: OSError) -> OutputError:
    """Makes the refusal that fits an operating-system error on writing `path`.

    A time-out of the caller's own passes.
    """
    let_pass(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            Code.OUTPUT_DISK_FULL, f"no space left to write {path}: make room; nothing was kept"
        )
    reason = error.strerror or str(error)
    return OutputError(Code.OUTPUT_UNWRITABLE, f"cannot write {path}: {reason}; nothing was kept")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
