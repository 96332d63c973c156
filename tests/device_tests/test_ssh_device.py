"""Measuring over ssh, with a real server on loopback that stands for the device."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from osd_edge.data.progress import silent
from osd_edge.device_tests.devices import open_device
from osd_edge.device_tests.devices.ssh_target import SshTarget, parse_target
from osd_edge.device_tests.install.platform import Platform
from osd_edge.device_tests.measure import keep_nothing
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.schema import Report
from osd_edge.errors import DeviceError, InputError, OsdEdgeError
from tests.support.sshd import Sshd, descendants, free_port, running_sshd

QUICK = Plan(scenarios=("imports",), tokens=8).quick()
HERE = f"python={sys.executable}"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def measure(spec: str, plan: Plan = QUICK) -> tuple[Report, list[Report]]:
    kept: list[Report] = []
    return open_device(f"ssh:{spec}").run(plan, silent, kept.append), kept


def refusal(spec: str, plan: Plan = QUICK) -> OsdEdgeError:
    with pytest.raises(OsdEdgeError) as caught:
        open_device(f"ssh:{spec}").run(plan, silent, keep_nothing)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)
    return caught.value


def stand_in(path: Path, changes: str) -> str:
    """A program that runs this Python with `changes` made first: a device unlike this one."""
    start = f"import sys, platform; {changes}; exec(sys.argv.pop(1))"
    path.write_text(
        f"#!/bin/sh\nshift 2\nexec {sys.executable} -u -c '{start}' \"$@\"\n"  # -u -c CODE
    )
    path.chmod(0o755)
    return f"python={path}"


# What a device is named


def test_targets_are_read() -> None:
    assert parse_target("pi@pi.local") == SshTarget("pi@pi.local")
    assert parse_target("pi@pi.local:2222") == SshTarget("pi@pi.local", 2222)
    assert parse_target("pi@[::1]:22") == SshTarget("pi@::1", 22)
    assert parse_target("fe80::1") == SshTarget("fe80::1")
    assert parse_target("kitchen,python=/opt/bin/python3,folder=/mnt/usb,installed") == SshTarget(
        "kitchen", python="/opt/bin/python3", folder="/mnt/usb", installed=True
    )


@pytest.mark.parametrize(
    "spec",
    [
        *("", "pi@", "pi@host:", "pi@host:99999", "host:22x", "-oProxyCommand=x", "a b"),
        *("host,kee=x", "host,key=/nowhere/at/all", "host,python=", "host,installed=1", "[::1]22"),
    ],
)
def test_malformed_targets_are_refused(spec: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_target(spec)
    assert caught.value.code == "input.device"


@pytest.mark.parametrize(
    ("platform", "code", "words"),
    [
        (Platform("aarch64", 64, (3, 9), (2, 31)), "device.python", "Python 3.9"),
        (Platform("armv7l", 32, (3, 11), (2, 36)), "device.wheels", "32-bit"),
        (Platform("aarch64", 32, (3, 11), (2, 36)), "device.wheels", "32-bit"),
        (Platform("riscv64", 64, (3, 11), (2, 36)), "device.wheels", "riscv64"),
        (Platform("aarch64", 64, (3, 11), None), "device.wheels", "glibc"),
    ],
)
def test_devices_without_wheels_are_refused(platform: Platform, code: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words) as caught:
        platform.check_python()
        platform.check_wheels()
    assert caught.value.code == code


def test_wheels_for_an_older_system_also_run_on_a_newer_one() -> None:
    tags = Platform("aarch64", 64, (3, 11), (2, 36)).tags
    assert tags[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_28_aarch64", "manylinux_2_17_aarch64"} < set(tags)


# A run


def test_a_device_measures_itself_and_is_left_as_it_was(sshd: Sshd, tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.mkdir()
    report, kept = measure(sshd.spec(HERE, f"folder={device}"))
    assert report["verdict"]["status"] == "passed"
    assert report["conformance"]["status"] == "passed"
    assert [s["status"] for s in report["scenarios"]] == ["done"]
    assert kept[-1] == report and kept[0]["verdict"]["status"] == "incomplete"
    assert list(device.iterdir()) == []


def test_base_and_bundles_are_brought_there(
    sshd: Sshd, tmp_path: Path, tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    (tmp_path / "again").mkdir()
    same_name = shutil.copy(tiny_bundles[1], tmp_path / "again" / tiny_bundles[0].name)
    plan = Plan(
        base=tiny_base, bundles=(tiny_bundles[0], Path(same_name)), scenarios=("tasks",), tokens=8
    )
    report, _ = measure(sshd.spec(HERE, f"folder={tmp_path}"), plan.quick())
    assert report["base"] is not None and report["base"]["family"] == "bert"
    assert [task["file"] for task in report["tasks"]] == [tiny_bundles[0].name] * 2
    assert len({task["decoded_sha256"] for task in report["tasks"]}) == 2


def test_what_a_login_shell_prints_does_no_harm(sshd: Sshd, tmp_path: Path) -> None:
    program = tmp_path / "greeting-python"
    program.write_text(f'#!/bin/sh\necho Welcome\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    # the agent starts the measurement with the same program, whose greeting is then a line of it
    report, _ = measure(sshd.spec(f"python={program}", f"folder={tmp_path}"))
    assert report["verdict"]["status"] == "passed"


def test_a_run_that_breaks_off_leaves_its_results(sshd: Sshd, tmp_path: Path) -> None:
    """The measurement is killed on the device once it has written a first result."""
    kept: list[Report] = []

    def keep(report: Report) -> None:
        kept.append(report)
        if report["conformance"]["status"] != "not_run":
            for pid in descendants(sshd.process.pid):
                if b"osd_edge.device_tests\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    plan = Plan(scenarios=("imports", "soak"), tokens=8, soak_swaps=10**6)
    with pytest.raises(DeviceError) as caught:
        open_device(f"ssh:{sshd.spec(HERE, f'folder={tmp_path}')}").run(plan, silent, keep)
    assert caught.value.code == "device.broken-off"
    assert "signal 9" in str(caught.value) and "are kept" in str(caught.value)
    assert kept[-1]["conformance"]["status"] == "passed"
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_breaks_ends_the_run_there_too(
    sshd: Sshd, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept: list[Report] = []
    own = tmp_path_factory.mktemp("second")
    with running_sshd(own) as server:

        def keep(report: Report) -> None:
            kept.append(report)
            if report["conformance"]["status"] != "not_run":
                # the server's process for this connection, as when a cable is pulled
                with contextlib.suppress(ProcessLookupError):
                    os.kill(descendants(server.process.pid)[0], signal.SIGKILL)

        plan = Plan(scenarios=("soak",), tokens=8, soak_swaps=10**6)
        spec = server.spec(HERE, f"folder={tmp_path}")
        with pytest.raises(DeviceError) as caught:
            open_device(f"ssh:{spec}").run(plan, silent, keep)
    assert caught.value.code == "device.broken-off"
    assert kept[-1]["conformance"]["status"] == "passed"
    for _ in range(300):
        if not list(tmp_path.iterdir()):
            break
        time.sleep(0.1)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_hangs_is_given_up_and_its_results_kept(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything of the connection is stopped there, as where a machine hangs."""
    monkeypatch.setattr("osd_edge.device_tests.devices.ssh_connection._SILENT_SECONDS", 20.0)
    kept: list[Report] = []
    stopped: list[int] = []

    def keep(report: Report) -> None:
        kept.append(report)
        if report["conformance"]["status"] != "not_run" and not stopped:
            stopped.extend(descendants(sshd.process.pid))
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)

    plan = Plan(scenarios=("soak",), tokens=8, soak_swaps=10**6)
    try:
        with pytest.raises(DeviceError, match="fell silent") as caught:
            open_device(f"ssh:{sshd.spec(HERE, f'folder={tmp_path}')}").run(plan, silent, keep)
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert caught.value.code == "device.broken-off" and "are kept" in str(caught.value)
    assert kept[-1]["conformance"]["status"] == "passed"


# Refusals


def test_nobody_listens(sshd: Sshd) -> None:
    error = refusal(sshd.spec(HERE, port=free_port()))
    assert error.code == "device.unreachable" and "refused" in str(error)


def test_a_name_that_is_no_host() -> None:
    assert refusal("pi@no-such-host.invalid").code == "device.unreachable"


def test_a_wrong_key(sshd: Sshd, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    spec = f"{sshd.user}@127.0.0.1:{sshd.port},config={sshd.config},key={other}"
    assert refusal(spec).code == "device.denied"


def test_a_host_key_that_is_not_known(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"UserKnownHostsFile {tmp_path / 'none'}\nGlobalKnownHostsFile /dev/null\n")
    spec = f"{sshd.user}@127.0.0.1:{sshd.port},config={config},key={sshd.key}"
    error = refusal(spec)
    assert error.code == "device.host-key" and "by hand" in str(error)


def test_no_python_there(sshd: Sshd) -> None:
    error = refusal(sshd.spec("python=no-such-python"))
    assert error.code == "device.python" and "no-such-python" in str(error)


def test_an_older_python_there(sshd: Sshd, tmp_path: Path) -> None:
    program = stand_in(tmp_path / "python", 'sys.version_info = (3, 9, 2, "final", 0)')
    error = refusal(sshd.spec(program, f"folder={tmp_path}"))
    assert error.code == "device.python" and "3.9" in str(error)


def test_a_32_bit_system_there(sshd: Sshd, tmp_path: Path) -> None:
    changes = 'platform.machine = lambda: "armv7l"; import struct; struct.calcsize = lambda f: 4'
    changes += "; import importlib.metadata as m; m.version = lambda name: {}[name]"
    error = refusal(sshd.spec(stand_in(tmp_path / "python", changes), f"folder={tmp_path}"))
    assert error.code == "device.wheels" and "64-bit Raspberry Pi OS" in str(error)


def test_no_osd_edge_is_installed_there(sshd: Sshd, tmp_path: Path) -> None:
    changes = "import importlib.metadata as m; m.version = lambda name: {}[name]"
    program = stand_in(tmp_path / "python", changes)
    assert refusal(sshd.spec(program, f"folder={tmp_path}", "installed")).code == "device.installed"


def test_a_folder_that_is_not_there(sshd: Sshd, tmp_path: Path) -> None:
    assert refusal(sshd.spec(HERE, f"folder={tmp_path / 'none'}")).code == "device.folder"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_device_without_space(sshd: Sshd, tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(tmp_path)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs leave to mount a small file system")
    try:
        error = refusal(sshd.spec(HERE, f"folder={tmp_path}"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert error.code == "device.space" and "folder=DIR" in str(error)


def test_a_bundle_that_does_not_fit_the_base_there(
    sshd: Sshd, tmp_path: Path, tiny_base: Path
) -> None:
    from osd_edge.device_tests.data import MODEL_FOLDER

    bundle = next(MODEL_FOLDER.glob("*.safetensors"))
    plan = Plan(base=tiny_base, bundles=(bundle,), scenarios=("imports",), tokens=8).quick()
    error = refusal(sshd.spec(HERE, f"folder={tmp_path}"), plan)
    assert error.code.startswith("bundle.") and "on the device" in str(error)


def test_files_that_are_not_here_are_refused_before_any_connection(tmp_path: Path) -> None:
    plan = Plan(base=tmp_path / "none", bundles=(tmp_path / "none.safetensors",))
    assert refusal("pi@no-such-host.invalid", plan).code == "base.missing"
