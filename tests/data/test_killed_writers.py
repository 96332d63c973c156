"""A writer that is killed: at whatever moment, the old is there or the new, and its rest goes."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from osd_edge.data import files, staging
from osd_edge.data.files import locked_output, staged_folder, write_file
from osd_edge.data.staging import bring_back
from osd_edge.errors import OutputError

# Forks a writer again and again, and kills each one touch of the file system later than the last,
# until one gets through. Every touch is told to audit hooks before it is done.
_KILLED_EVERYWHERE = """
import itertools, json, os, signal, sys
from pathlib import Path
from osd_edge.data import exchange, files
from osd_edge.data.staging import bring_back

work, step, clean = Path(sys.argv[1]), sys.argv[2] == "one step", sys.argv[3] == "clean"
if not step:
    exchange.exchange = lambda *_: False
base, report = work / "base", work / "report.json"

def write(content):
    with files.staged_folder(base, overwrite=True) as folder:
        (folder / "model.bin").write_bytes(content * 5000)
        fields = {"fingerprint": content.decode(), "files": {"model.bin": {}}}
        (folder / "manifest.json").write_text(json.dumps(fields))
    files.write_file(report, content * 5000)

def found():
    bring_back(base)
    (content,) = set((base / "model.bin").read_bytes())
    content = bytes([content])
    assert (base / "model.bin").read_bytes() == content * 5000
    assert json.loads((base / "manifest.json").read_text())["fingerprint"] == content.decode()
    (written,) = set(report.read_bytes())
    assert report.read_bytes() == bytes([written]) * 5000
    return content, bytes([written])

write(b"0")
seen, gaps, rests = set(), 0, 0
for last in itertools.count(1):
    old, new = b"0" if clean else found()[0], b"1" if last % 2 else b"2"
    child = os.fork()
    if child == 0:
        touches = itertools.count(1)
        def kill(event, arguments):
            if next(touches) == last:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(kill)
        write(new)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    gaps += not base.exists()
    rests += any(path.name.startswith(".") for path in work.iterdir())
    content, _ = found()
    assert content in (old, new), (last, content)
    seen.add(content == new)
    if clean:
        write(b"0")
        assert sorted(path.name for path in work.iterdir()) == ["base", "report.json"], last
    if status == 0:
        break
write(b"0")
names = sorted(path.name for path in work.iterdir())
print(json.dumps([last - 1, len(seen), gaps, rests, names]))
"""


_HOLDS = """
import sys
from pathlib import Path
from osd_edge.data.files import staged_folder

with staged_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print("at work", flush=True)
    sys.stdin.readline()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def moved_away(path: Path) -> None:
    """Leaves what a writer leaves that is killed between two renames."""
    old = path.with_name(f".{path.name}.osd-edge") / "old"
    old.mkdir(parents=True)
    (old / "model.bin").write_text("old")
    (old / "manifest.json").write_text('{"fingerprint": "", "files": {"model.bin": {}}}')


def standing(path: Path) -> Path:
    bring_back(path)
    return path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("between", ["clean", "leftovers"])
@pytest.mark.parametrize("way", ["one step", "two steps"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_and_the_next_run_nothing_else(
    tmp_path: Path, way: str, between: str
) -> None:
    command = [sys.executable, "-c", _KILLED_EVERYWHERE, str(tmp_path), way, between]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills, seen, gaps, rests, names = json.loads(done.stdout)
    assert names == ["base", "report.json"]
    assert kills > 40 and seen == 2 and rests > 40  # it has killed where there was work
    assert gaps == (way == "two steps")


def test_a_reader_brings_back_what_a_killed_writer_had_moved_away(tmp_path: Path) -> None:
    moved_away(tmp_path / "base")
    assert (standing(tmp_path / "base") / "model.bin").read_text() == "old"
    assert names(tmp_path) == ["base"]


def test_a_reader_leaves_alone_what_was_put_there_since(tmp_path: Path) -> None:
    moved_away(tmp_path / "base")
    (tmp_path / "base").mkdir()
    assert list(standing(tmp_path / "base").iterdir()) == []


def test_a_reader_of_nothing_finds_nothing(tmp_path: Path) -> None:
    for name in ("absent", "nul\0", "x" * 300):
        bring_back(tmp_path / name)
    assert names(tmp_path) == []


def test_what_was_brought_back_is_not_replaced_without_being_told_to(tmp_path: Path) -> None:
    moved_away(tmp_path / "base")
    with pytest.raises(OutputError) as refused, staged_folder(tmp_path / "base", overwrite=False):
        raise AssertionError("refused before anything is made")
    assert refused.value.code == "output.exists"
    assert (tmp_path / "base" / "model.bin").read_text() == "old"


def test_two_runs_for_one_folder_do_not_both_begin(tmp_path: Path) -> None:
    path = tmp_path / "base"
    with staged_folder(path) as first:
        (first / "a").write_text("first")
        for other in (path, tmp_path / "." / "base"):
            with pytest.raises(OutputError, match="wait for it") as refused, staged_folder(other):
                raise AssertionError("refused at once")
            assert refused.value.code == "output.busy"
        with staged_folder(tmp_path / "another"):
            pass
    assert (path / "a").read_text() == "first"
    assert names(tmp_path) == ["another", "base"]


def test_a_run_in_another_process_is_seen_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "base"
    command = [sys.executable, "-c", _HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"at work\n"
        with pytest.raises(OutputError) as refused, staged_folder(path):
            raise AssertionError("refused at once")
        assert refused.value.code == "output.busy"
        holder.kill()
    assert names(tmp_path) == [".base.osd-edge"]
    with staged_folder(path) as folder:
        assert names(folder) == []
    assert names(tmp_path) == ["base"]


def test_writers_of_one_file_wait_for_one_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = [bytes([i]) * 5000 for i in range(8)]
    with ThreadPoolExecutor(8) as executor:
        for _ in range(5):
            list(executor.map(write_file, [path] * len(texts), texts))
    assert path.read_bytes() in texts
    assert names(tmp_path) == ["file"]


def test_a_writer_that_never_ends_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_OTHER_WRITER_SECONDS", 0.05)
    for write in (lambda path: write_file(path, b""), files.check_file_writable):
        with locked_output(tmp_path / "file"), pytest.raises(OutputError) as refused:
            write(tmp_path / "file")
        assert refused.value.code == "output.busy"
    assert names(tmp_path) == []


def test_a_held_output_gives_a_folder_that_goes(tmp_path: Path) -> None:
    with locked_output(tmp_path / "demo") as scratch:
        (scratch / "large").write_text("for a while")
        assert names(tmp_path) == [".demo.osd-edge"]
    assert names(tmp_path) == []
    with pytest.raises(OutputError) as refused, locked_output(tmp_path / "absent" / "demo"):
        raise AssertionError("refused at once")
    assert refused.value.code == "output.unwritable"


@pytest.mark.parametrize("kind", ["stranger's folder", "file", "link"])
def test_what_has_the_name_of_a_staging_folder_and_is_none_is_left_alone(
    tmp_path: Path, kind: str
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letters").write_text("dear")
    taken = tmp_path / ".base.osd-edge"
    if kind == "file":
        taken.write_text("mine")
    elif kind == "link":
        taken.symlink_to("precious", target_is_directory=True)
    else:
        precious.rename(taken)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="delete it") as refused, staged_folder(tmp_path / "base"):
        raise AssertionError("refused before anything is made")
    assert refused.value.code == "output.exists"
    assert sorted(tmp_path.rglob("*")) == before


def test_where_there_are_no_locks_a_folder_that_is_there_may_be_someones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "try_lock", lambda _: None)
    with staged_folder(tmp_path / "base") as first:
        (first / "a").write_text("first")
        with pytest.raises(OutputError) as refused, staged_folder(tmp_path / "base"):
            raise AssertionError("refused at once")
        assert refused.value.code == "output.busy"
    assert names(tmp_path / "base") == ["a"]
    assert names(tmp_path) == ["base"]


def test_a_name_of_any_length_has_room_beside_it(tmp_path: Path) -> None:
    for name in ("x" * 255, "ü" * 120):
        files.check_file_writable(tmp_path / name)
        write_file(tmp_path / name, b"there")
        assert (tmp_path / name).read_bytes() == b"there"
    assert len(names(tmp_path)) == 2


def test_a_file_of_the_users_that_comes_late_is_kept(tmp_path: Path) -> None:
    moved_away(tmp_path / "base")
    base = standing(tmp_path / "base")
    with pytest.raises(OutputError) as refused, staged_folder(base, overwrite=True) as new:
        (new / "manifest.json").write_text("{}")
        (base / "notes.txt").write_text("written while the export ran")
    assert refused.value.code == "output.exists"
    assert (base / "notes.txt").exists() and (base / "model.bin").read_text() == "old"
    assert names(tmp_path) == ["base"]


def test_all_that_is_written_reaches_the_disk_before_the_old_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved_away(tmp_path / "base")
    base = standing(tmp_path / "base")
    synced = []
    sync = os.fsync

    def watched(number: int) -> None:
        sync(number)
        status = os.fstat(number)
        synced.append((status.st_ino, (base / "inner" / "new").exists()))

    monkeypatch.setattr(os, "fsync", watched)
    with staged_folder(base, overwrite=True) as new:
        (new / "inner").mkdir()
        (new / "inner" / "new").write_text("")
    there = {path.stat().st_ino for path in (base, base / "inner", base / "inner" / "new")}
    assert {inode for inode, placed in synced if not placed} == there
    assert (tmp_path.stat().st_ino, True) in synced
    synced.clear()
    write_file(tmp_path / "file", b"")
    assert [inode for inode, _ in synced] == [
        (tmp_path / "file").stat().st_ino,
        tmp_path.stat().st_ino,
    ]
