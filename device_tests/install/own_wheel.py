"""Makes a wheel of the osd-edge that runs here, so that the same one runs on the device."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import unquote, urlparse

from osd_edge.errors import Code, DeviceError, shown

PROJECT = "osd-edge"
_OF_ONE_INSTALL = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")


def own_wheel(folder: Path) -> Path:
    """Writes the wheel to `folder` and returns its path.

    An editable install is built anew from its sources, any other is packed again from its
    installed files. Raises DeviceError `device.build`.
    """
    # What a build left beside the sources is found, too, but was not installed: it has no WHEEL.
    installed = next((d for d in distributions(name=PROJECT) if d.read_text("WHEEL")), None)
    if installed is None:
        raise DeviceError(Code.DEVICE_BUILD, "osd-edge is not installed here: pip install osd-edge")
    source = _editable_source(installed)
    return _pack(installed, folder) if source is None else _build(source, folder)


def _editable_source(installed: Distribution) -> Path | None:
    """Returns the folder of an editable install (PEP 610), None of any other."""
    record = json.loads(installed.read_text("direct_url.json") or "{}")
    if not record.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(record["url"]).path))


def _build(source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--wheel-dir", str(folder), str(source)]
    with tempfile.TemporaryDirectory(prefix="osd-edge-build-") as name:
        # Away from the sources, where what an earlier build left would get into the wheel.
        settings = Path(name) / "setup.cfg"
        settings.write_text(f"[build]\nbuild_base = {name}\n[egg_info]\negg_base = {name}\n")
        done = subprocess.run(
            command,
            env=os.environ | {"DIST_EXTRA_CONFIG": str(settings)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    wheels = list(folder.glob("osd_edge-*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DeviceError(
            Code.DEVICE_BUILD, f"no wheel of osd-edge could be built: {shown(last, 300)}"
        )
    return wheels[0]


def _pack(installed: Distribution, folder: Path) -> Path:
    """Makes a wheel of the files that the installed distribution's record lists (PEP 427)."""
    info = f"osd_edge-{installed.version}.dist-info"
    path = folder / f"osd_edge-{installed.version}-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in sorted(installed.files or (), key=str):
            top, name = file.parts[0], file.parts[-1]
            if top not in ("osd_edge", info) or file.suffix == ".pyc" or name in _OF_ONE_INSTALL:
                continue
            data = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{len(data)}\n")
            wheel.writestr(str(file), data)
        if not record:
            raise DeviceError(
                Code.DEVICE_BUILD,
                "the installed osd-edge has no record of its files: install it again with pip",
            )
        wheel.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))
    return path


def content_digest(wheel: Path) -> str:
    """Hashes (sha256) names and contents of what is in `wheel`, whenever it was packed."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            digest.update(name.encode() + b"\0" + hashlib.sha256(archive.read(name)).digest())
    return digest.hexdigest()
