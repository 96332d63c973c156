"""The files of a release, built in a clean copy of a commit.

They hang on the commit and on the pinned tools alone: times are the commit's, and archives are
packed in order of name. So anyone who builds the commit again gets the same bytes.
"""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from release.shipped import bill_of_materials, bundled_packages, licences

WEB = Path("runtime", "web")


def build(project: Path, commit: str, out: Path) -> str:
    """Build sdist, wheel, npm package, list of materials and digests of `commit`; its version.

    `out` is a folder that is made; a copy of the commit lies in it while the build runs.
    """
    copy = out / "copy"
    copy.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", commit], cwd=project, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(copy, filter="data")
    time = _output("git", "show", "-s", "--format=%ct", commit, cwd=project)
    version = _version(copy)
    environment = os.environ | {"SOURCE_DATE_EPOCH": time, "TZ": "UTC"}
    web = copy / WEB
    shutil.copy(copy / "LICENSE", web)
    _run("npm", "pkg", "set", f"version={version}", cwd=web)
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=web)
    _run("npm", "run", "--silent", "page", cwd=web)
    packages = bundled_packages(web)
    (web / "page" / "licences.txt").write_text(licences(web, packages), "utf-8")
    _run("npm", "pack", "--silent", "--pack-destination", out, cwd=web)
    _run(sys.executable, "-m", "build", "--outdir", out, cwd=copy, env=environment)
    (sdist,) = out.glob("*.tar.gz")
    repack(sdist, int(time))
    (wheel,) = out.glob("*.whl")
    bill = bill_of_materials(wheel, version, packages, int(time))
    (out / f"osd-edge-{version}.cdx.json").write_text(bill, "utf-8")
    shutil.rmtree(copy)
    return version


def repack(sdist: Path, time: int) -> None:
    """Pack a .tar.gz again, in place: in order of name, all of one time and of no owner."""
    packed = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=packed, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    sdist.write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))


def _version(copy: Path) -> str:
    lines = (copy / "osd_edge" / "__init__.py").read_text("utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("__version__ = "))


def _run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def _output(*command: str, cwd: Path) -> str:
    return subprocess.run(
        command, cwd=cwd, check=True, capture_output=True, text=True
    ).stdout.strip()
