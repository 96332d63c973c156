"""Unpacks Debian packages of another architecture into a folder, and installs nothing.

apt-get does it with state folders of its own, so neither root nor a foreign architecture on
this machine is needed. Packages are verified by Debian's archive keys as always.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from osd_edge.device_tests.emulated.tools import find_tool, run_tool
from osd_edge.errors import Code, DeviceError

MIRROR_VARIABLE = "OSD_EDGE_DEBIAN_MIRROR"
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def unpack_packages(packages: Sequence[str], suite: str, architecture: str, folder: Path) -> None:
    """Downloads `packages` with what they depend on, and unpacks all of it into `folder`.

    Raises DeviceError: `device.tool` without apt or Debian's keys, `device.mirror` where no
    mirror is known, `device.build` where the download fails, `device.space` on a full disk.
    """
    # Debian's merged layout, before a package that still has /lib makes a folder of it.
    for name in ("bin", "sbin", "lib"):
        (folder / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"usr/{name}")
    with tempfile.TemporaryDirectory(prefix="osd-edge-apt-") as state:
        for archive in _download(packages, suite, architecture, Path(state)):
            _unpack(archive, folder)


def mirror() -> str:
    """Finds a Debian mirror: the one this system uses, or `OSD_EDGE_DEBIAN_MIRROR`."""
    named = os.environ.get(MIRROR_VARIABLE)
    if named:
        return named
    fields = "$(REPO_URI) $(RELEASE)"
    listed = run_tool("apt-get", "indextargets", "--format", fields, "Created-By: Packages")
    for line in listed.splitlines():
        address, _, release = line.partition(" ")
        if address.rstrip("/").endswith("/debian") and "security" not in release:
            return address
    raise DeviceError(
        Code.DEVICE_MIRROR,
        f"this system's apt knows no Debian mirror: name one, {MIRROR_VARIABLE}=ADDRESS",
    )


def _download(packages: Sequence[str], suite: str, architecture: str, state: Path) -> list[Path]:
    if not _KEYS.exists():
        raise DeviceError(
            Code.DEVICE_TOOL, f"no {_KEYS} to check packages by: apt-get install {_KEYS.stem}"
        )
    for name in ("etc", "lists/partial", "archives/partial", "state"):
        (state / name).mkdir(parents=True)
    (state / "state" / "status").touch()
    (state / "etc" / "sources.list").write_text(
        f"deb [arch={architecture} signed-by={_KEYS}] {mirror()} {suite} main\n"
    )
    settings = state / "apt.conf"
    settings.write_text(
        f"""
        APT::Architecture "{architecture}";
        APT::Architectures {{ "{architecture}"; }};
        APT::Install-Recommends "false";
        APT::Sandbox::User "";
        Acquire::Retries "3";
        Acquire::Languages "none";
        Dir::State "{state}/state";
        Dir::State::lists "{state}/lists";
        Dir::State::status "{state}/state/status";
        Dir::Cache "{state}";
        Dir::Cache::archives "{state}/archives";
        Dir::Etc "{state}/etc";
        Dir::Log "{state}";
        """
    )
    environment = {"APT_CONFIG": str(settings), "LC_ALL": "C"}
    run_tool("apt-get", "update", "-q", environment=environment)
    run_tool(
        "apt-get", "install", "-q", "-y", "--download-only", *packages, environment=environment
    )
    return sorted((state / "archives").glob("*.deb"))


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacks as dpkg would, keeping links between folders, and runs no script of the package."""
    unpack = [find_tool("dpkg-deb"), "--fsys-tarfile", str(archive)]
    with subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source:
        assert source.stdout is not None and source.stderr is not None
        done = subprocess.run(
            [find_tool("tar"), "-x", "--keep-directory-symlink", "--no-same-owner", "-C", folder],
            stdin=source.stdout,
            capture_output=True,
            text=True,
        )
        source.stdout.close()
        source.wait()
    if done.returncode != 0 or source.returncode != 0:
        code = Code.DEVICE_SPACE if "No space left" in done.stderr else Code.DEVICE_BUILD
        raise DeviceError(code, f"cannot unpack {archive.name} into {folder}")
