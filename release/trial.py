"""Installs the files of a release where nothing is, and swaps tasks there.

On a workstation, from the sdist: a base and two tasks are exported. On a device, from the wheel,
and in Node, from the npm package: both tasks answer a text over one base, and say the same.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TEXT = "the cat sat on the mat"
TASKS = ("colour", "size")


def try_out(files: Path, constraints: Path, folder: Path) -> list[str]:
    """Install the files in `files` in empty environments below `folder`; a line for each step.

    Versions are those of `constraints`. Ends the program where a step fails.
    """
    (sdist,), (wheel,), (npm,) = (files.glob(end) for end in ("*.tar.gz", "*.whl", "*.tgz"))
    said = []
    workstation = _environment(folder / "workstation", f"{sdist}[export]", constraints)
    _run(workstation / "python", HERE / "models.py", folder / "models")
    _run(workstation / "osd-edge", "export", "base", "models/base", "-o", "package", cwd=folder)
    for task in TASKS:
        models = ("--base", "models/base", "--tuned", f"models/{task}")
        how = ("--refine", "none", "--budget", "8KiB", "-o", f"{task}.osd.safetensors")
        _run(workstation / "osd-edge", "export", "task", *models, *how, cwd=folder)
    said.append(f"workstation, from {sdist.name}: a base and {len(TASKS)} tasks exported")
    device = _environment(folder / "device", f"{wheel}[text]", constraints)
    told = json.loads(_run(device / "osd-edge", "doctor", "--json"))
    bundles = [word for task in TASKS for word in ("--bundle", f"{task}.osd.safetensors")]
    asked = ("run", "--base", "package", *bundles, "--text", TEXT, "--json")
    python = _labels(json.loads(_run(device / "osd-edge", *asked, cwd=folder)))
    said.append(f"device, from {wheel.name}: {python}; page: {_page(told)}")
    node = folder / "node"
    node.mkdir()
    (node / "package.json").write_text('{"type": "module", "private": true}\n', "utf-8")
    beside = ("@huggingface/tokenizers@0.2.0", "onnxruntime-node@1.30.0")
    _run("npm", "install", "--ignore-scripts", "--no-audit", "--silent", npm, *beside, cwd=node)
    (node / "swap.mjs").write_text((HERE / "swap.mjs").read_text("utf-8"), "utf-8")
    ours = json.loads(_run("node", "swap.mjs", "..", TEXT, *TASKS, cwd=node))
    if ours != python:
        sys.exit(f"Node says {ours}, Python {python}")
    said.append(f"Node, from {npm.name}: the same")
    return said


def _labels(answers: Any) -> dict[str, str]:
    return {one["task"]: one["label"] for one in answers}


def _page(told: Any) -> str:
    return "built" if told["page_built"] else sys.exit("the wheel has no phone page")


def _environment(folder: Path, what: str, constraints: Path) -> Path:
    """A new virtual environment with `what`; the folder of its commands."""
    venv.create(folder, with_pip=True)
    commands = folder / "bin"
    _run(
        *(commands / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--constraint", constraints, what),
    )
    return commands


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=outside, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
