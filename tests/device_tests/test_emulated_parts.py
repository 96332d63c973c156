"""Parts of the emulated machine that need no emulator; the rest is in tests_emulated."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from osd_edge.device_tests import Plan, measure
from osd_edge.device_tests.devices import agent, open_device
from osd_edge.device_tests.devices.payload import finished
from osd_edge.device_tests.emulated.cache import cache_folder, cached
from osd_edge.device_tests.emulated.debian import MIRROR_VARIABLE, mirror
from osd_edge.device_tests.emulated.initrd import make_initrd
from osd_edge.device_tests.emulated.tools import check, find_tool
from osd_edge.device_tests.programs.many_models import open_one_by_one
from osd_edge.device_tests.report.verdict import verdict_of
from osd_edge.errors import Code, DeviceError, InputError, OutputError


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "osd-edge"


# The cache


def test_a_folder_is_made_once_for_the_same_inputs(own_cache: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text(str(len(made)))

    first = cached("thing", ["a", "b"], make)
    assert cached("thing", ["a", "b"], make) == first
    other = cached("thing", ["ab"], make)
    assert len(made) == 2 and (first / "file").read_text() == "1"
    assert sorted(own_cache.iterdir()) == sorted([first, other])


def test_a_folder_that_could_not_be_made_leaves_nothing(own_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise DeviceError(Code.DEVICE_BUILD, "no")

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DeviceError):
        cached("thing", ["a"], fail)
    with pytest.raises(OutputError) as caught:
        cached("thing", ["a"], full)
    assert caught.value.code == "output.disk-full"
    assert list(own_cache.iterdir()) == []


def test_a_process_that_was_quicker_is_good_enough(own_cache: Path) -> None:
    def make(folder: Path) -> None:
        if not (own_cache / "inner").exists():
            (own_cache / "inner").touch()
            cached("thing", ["a"], make)
        (folder / "file").touch()

    assert (cached("thing", ["a"], make) / "file").exists()


def test_a_relative_cache_home_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert cache_folder() == Path.home() / ".cache" / "osd-edge"


# Tools


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osd_edge.device_tests.emulated.tools._SBIN", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match="apt-get install qemu-system-arm") as caught:
        find_tool("qemu-system-aarch64")
    assert caught.value.code == "device.tool"


def test_what_a_program_said_last_is_told() -> None:
    code = "import sys; sys.exit('first\\nthe reason')"
    with pytest.raises(DeviceError, match="failed: the reason") as caught:
        check([sys.executable, "-c", code])
    assert caught.value.code == "device.build"
    full = "import sys; sys.exit('mke2fs: No space left on device')"
    with pytest.raises(DeviceError) as caught:
        check([sys.executable, "-c", full])
    assert caught.value.code == "device.space"


def test_a_named_mirror_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, "http://mirror.invalid/debian")
    assert mirror() == "http://mirror.invalid/debian"


# The first file system


def test_the_first_file_system_lists_its_files(tmp_path: Path) -> None:
    names = ("virtio", "virtio_ring", "virtio_mmio", "virtio_blk")
    for name in names:
        (tmp_path / f"{name}.ko").write_bytes(name.encode())
    (tmp_path / "busybox").write_bytes(b"program")
    archive = gzip.decompress(make_initrd(tmp_path / "busybox", tmp_path))
    found = read_cpio(archive)
    assert found["bin/busybox"] == (0o100755, b"program")
    assert found["modules/virtio_blk.ko"] == (0o100644, b"virtio_blk")
    assert found["init"][0] == 0o100755 and found["init"][1].startswith(b"#!/bin/busybox sh\n")
    assert found["root"] == (0o040755, b"")


def read_cpio(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content by name of an archive in cpio's "newc" form."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 109 + name_size].decode()
        start = (at + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = mode, archive[start : start + size]
        at = (start + size + 3) // 4 * 4


# Drivers and what they run


def test_the_emulated_device_takes_nothing_after_its_name() -> None:
    with pytest.raises(InputError) as caught:
        open_device("emulated-pi:2")
    assert caught.value.code == "input.device"


def test_a_run_without_any_report_is_a_broken_one() -> None:
    with pytest.raises(DeviceError, match="no results") as caught:
        finished(None, "the cable was pulled")
    assert caught.value.code == "device.broken-off"


def test_what_failed_before_a_run_broke_off_does_not_make_it_whole() -> None:
    plan = Plan(scenarios=("imports", "soak"), tokens=4, soak_swaps=1, repeats=1)
    report = measure(plan.quick())
    assert finished(report, "") is report
    report["scenarios"][1]["status"] = "not_reached"
    report["conformance"]["failures"] = [{"id": "x", "expected": "", "found": ""}]
    report["verdict"] = verdict_of(report, finished=False)
    assert report["verdict"]["status"] == "failed"
    with pytest.raises(DeviceError, match="1 of 2 scenarios are kept") as caught:
        finished(report, "the cable was pulled")
    assert caught.value.code == "device.broken-off"


def test_the_agent_ends_well_while_its_connection_is_open(tmp_path: Path) -> None:
    source = Path(agent.__file__).read_text("utf-8") + f"\nserve({str(tmp_path)!r})\n"
    command = [sys.executable, "-c", source]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None and running.stdout is not None
        asked = {"run": [sys.executable, "-c", ""], "environment": {}, "report": "report.json"}
        running.stdin.write(json.dumps(asked).encode() + b"\n")
        running.stdin.flush()
        lines = running.stdout.read().decode().splitlines()
        assert running.wait(60) == 0
    assert json.loads(lines[-1].removeprefix(agent.MARK)) == {"exit": 0}


def test_models_are_opened_one_by_one_until_one_cannot(tiny_base: Path, tmp_path: Path) -> None:
    models = [tiny_base / "plain.onnx"] * 2
    lines = list(open_one_by_one(models, tokens=4))
    assert lines[2:] == [{"ended": None}]
    assert all(line["memory"]["rss"] > 0 for line in lines[:2])
    *opened, end = open_one_by_one([models[0], tmp_path / "none.onnx"], tokens=4)
    assert len(opened) == 1 and "exit code 1" in end["ended"]
