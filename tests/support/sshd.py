"""A real ssh server on loopback: its own configuration, keys and port, for one user's key."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


@dataclass(frozen=True)
class Sshd:
    """A server to log in to as `user` with `key`; `config` is for ssh, and knows its host key."""

    user: str
    port: int
    key: Path
    config: Path
    process: "subprocess.Popen[bytes]"

    def spec(self, *options: str, user: str | None = None, port: int | None = None) -> str:
        """The part after `ssh:` in `--device`."""
        address = f"{user or self.user}@127.0.0.1:{port or self.port}"
        return ",".join([address, f"config={self.config}", f"key={self.key}", *options])


def require_sshd() -> str:
    """Path of sshd; skips the test where it or ssh is not installed."""
    sshd = shutil.which("sshd", path=_SBIN)
    if sshd is None or shutil.which("ssh") is None:
        pytest.skip("needs openssh-server and openssh-client, which are not installed")
    return sshd


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """Start a server whose files are in `folder`, on a free port of 127.0.0.1."""
    program = require_sshd()
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    shutil.copyfile(folder / "user_key.pub", folder / "authorized_keys")
    port = free_port()
    settings = folder / "sshd_config"
    settings.write_text(
        f"""
        ListenAddress 127.0.0.1
        Port {port}
        HostKey {folder / "host_key"}
        AuthorizedKeysFile {folder / "authorized_keys"}
        PidFile none
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        PubkeyAuthentication yes
        PermitRootLogin prohibit-password
        StrictModes no
        UsePAM no
        """
    )
    host_key = (folder / "host_key.pub").read_text().split()[:2]
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    config = folder / "ssh_config"
    config.write_text(f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd, as root, locks itself up
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(settings)], stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        _wait_for(port, process, folder / "log")
        yield Sshd(getpass.getuser(), port, folder / "user_key", config, process)
    finally:
        process.terminate()
        process.wait()


def descendants(pid: int) -> list[int]:
    """Processes that the process `pid` started, and theirs, the nearest first."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):  # it may be gone already
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
    found = [pid]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            pytest.fail(f"sshd did not start: {log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"sshd does not listen: {log.read_text()}")
