"""`python -m bounds lowest|newest|device`: install, test, and say what was run.

* `lowest`: every dependency at its lower bound, for the workstation (all tests) and for a device.
* `newest`: whatever pip takes today, without constraints; all tests.
* `device --python COMMAND [--root FOLDER]`: another Python, which may be that of a Debian root.

Each run adds a dated line to `docs/bounds.md`. It takes minutes to an hour, and gigabytes of disk
where pip takes a CUDA build of torch.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from bounds.declared import DEVICE, WORKSTATION, lowest, requirements

PROJECT = Path(__file__).parents[1]
LOG = PROJECT / "docs" / "bounds.md"
# Tests that need no more than a device has.
ROOMS = ("errors", "data", "formats", "compatibility/test_written_files.py")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "safetensors")
# The tracer that is tested only where it is installed: no release of it knows transformers 5.
OPTIMUM = "optimum-onnx==0.1.0"
CLI = "from osd_edge.cli.main import main; main()"


def main() -> None:
    """Run what is asked for, each in an environment of its own."""
    parser = argparse.ArgumentParser(prog="python -m bounds", description=__doc__)
    parser.add_argument("what", choices=("lowest", "newest", "device"))
    parser.add_argument("--python", default=sys.executable, help="of which environments are made")
    parser.add_argument("--root", type=Path, help="a Debian root that has that Python")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.what == "device":
            _device(Path(scratch), given.python, given.root, [])
        elif given.what == "newest":
            _workstation(Path(scratch), given.python, [])
        else:
            pins = lowest(requirements(PROJECT, DEVICE))
            _device(Path(scratch), given.python, given.root, pins)
            pins = lowest(requirements(PROJECT, (*WORKSTATION, "dev")))
            _workstation(Path(scratch), given.python, [*pins, OPTIMUM])


def _workstation(scratch: Path, python: str, pins: list[str]) -> None:
    """All tests, in an environment with every extra."""
    commands = _environment(scratch / "workstation", python)
    constraints = _written(scratch / "workstation.txt", pins)
    first = [pin for pin in pins if pin.startswith(("torch==", OPTIMUM))]
    _pip(commands, constraints, *(first or ["torch"]))
    tools = [one.name for one in requirements(PROJECT, ("dev",))]
    more = [] if pins else ["onnxscript", "onnxruntime-genai"]
    extras = ",".join(WORKSTATION)
    _pip(commands, constraints, "--editable", f"{PROJECT}[{extras}]", *tools, *more)
    result = _tests(commands, [str(PROJECT / "tests")])
    names = [one.name for one in requirements(PROJECT, (*WORKSTATION, "dev"))]
    _log("workstation, " + ("lowest" if pins else "newest"), commands, names, result)


def _device(scratch: Path, python: str, root: Path | None, pins: list[str]) -> None:
    """The tests that a device can run, its check of itself, in an environment from the wheel."""
    if root is not None:
        # onnxruntime learns from /proc what the processor can do.
        _run("mount", "-t", "proc", "proc", root / "proc")
        try:
            _in_root(root, python)
        finally:
            _run("umount", root / "proc")
        return
    commands = _environment(scratch / "device", python)
    constraints = _written(scratch / "device.txt", pins)
    _pip(commands, constraints, f"{PROJECT}[{','.join(DEVICE)}]", *TOOLS)
    result = _tests(commands, [str(PROJECT / "tests" / room) for room in ROOMS])
    _run(commands / "python", "-c", CLI, "doctor", cwd=scratch)
    checked = ("--quick", "--scenarios", "base", "--json", "report.json")
    _run(commands / "python", "-m", "osd_edge.device_tests", *checked, cwd=scratch)
    names = [one.name for one in requirements(PROJECT, DEVICE)]
    _log("device, " + ("lowest" if pins else "newest"), commands, names, result)


def _in_root(root: Path, python: str) -> None:
    """The device's run inside a Debian root: this program again, with the root's own Python."""
    copy = root / "osd-edge"
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", PROJECT, copy], check=True)
    version = _output(
        "chroot", root, python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"
    )
    wheels = copy / "wheels"
    names = [str(one) for one in requirements(PROJECT, DEVICE)]
    build = ("setuptools>=77", "wheel", "packaging")
    fetch = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", wheels)
    only = ("--only-binary", ":all:", "--python-version", version)
    _run(*fetch, *only, *names, *TOOLS, *build)
    own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/osd-edge/wheels"}
    inside = ("chroot", root, "/osd-edge/.venv/bin/python")
    _run("chroot", root, python, "-m", "venv", "/osd-edge/.venv", env=own)
    _run(*inside, "-m", "pip", "install", "--quiet", *build, env=own)
    _run(*inside, "-m", "pip", "install", "--quiet", *TOOLS, "packaging", env=own)
    _run(
        *(*inside, "-m", "pip", "install", "--quiet", "--no-build-isolation"),
        f"/osd-edge[{','.join(DEVICE)}]",
        env=own,
    )
    tests = [f"/osd-edge/tests/{room}" for room in ROOMS]
    result = _summary(_output(*inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests))
    _run(*inside, "-c", CLI, "doctor")
    checked = ("--quick", "--scenarios", "base", "--json", "/osd-edge/report.json")
    _run(*inside, "-m", "osd_edge.device_tests", *checked)
    told = _output(*inside, "-m", "pip", "list", "--format", "freeze")
    system = (root / "etc" / "debian_version").read_text("utf-8").strip()
    named = [one.name for one in requirements(PROJECT, DEVICE)]
    full = _output(*inside, "--version").removeprefix("Python ").strip()
    _write(f"device in a root of Debian {system}, newest", full, told, named, result)


def _environment(folder: Path, python: str) -> Path:
    _run(python, "-m", "venv", folder)
    return folder / "bin"


def _written(path: Path, pins: list[str]) -> Path:
    path.write_text("\n".join(pins) + "\n", "utf-8")
    return path


def _pip(commands: Path, constraints: Path, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    # The constraints of the developers' environment do not hold here.
    env = {"PIP_CONSTRAINT": str(constraints), "PIP_USER": "0"}
    _run(commands / "python", "-m", "pip", "install", *quiet, *arguments, env=env)


def _tests(commands: Path, tests: list[str]) -> str:
    plan = ("-q", "--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    env = {"OMP_NUM_THREADS": "1", "PATH": f"{commands}:{os.environ['PATH']}"}
    return _summary(
        _output(commands / "python", "-m", "pytest", *plan, *tests, cwd=PROJECT, env=env)
    )


def _summary(printed: str) -> str:
    """Pytest's closing line: so many passed, so many skipped."""
    found = re.findall(r"\d+ (?:passed|skipped)", printed.strip().splitlines()[-1])
    return ", ".join(found)


def _log(what: str, commands: Path, names: list[str], result: str) -> None:
    told = _output(commands / "python", "-m", "pip", "list", "--format", "freeze")
    full = _output(commands / "python", "--version").removeprefix("Python ").strip()
    _write(what, full, told, names, result)


def _write(what: str, python: str, freeze: str, names: list[str], result: str) -> None:
    """Add the run's line to the log."""
    plain = {re.sub(r"[-_.]+", "-", n).lower() for n in names} - {"ruff", "mypy"}
    installed = (line.partition("==") for line in freeze.splitlines())
    versions = ", ".join(
        f"{name} {version}"
        for name, _, version in installed
        if re.sub(r"[-_.]+", "-", name).lower() in plain
    )
    line = f"| {date.today()} | {what} | {python} | {versions} | {result} |\n"
    with LOG.open("a", encoding="utf-8") as log:
        log.write(line)
    print(line, end="")


def _run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    _output(*command, cwd=cwd, env=env)


def _output(
    *command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> str:
    outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    done = subprocess.run(
        command, cwd=cwd, env=outside | (env or {}), capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(
            f"{' '.join(map(str, command))} failed:\n{done.stdout[-8000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


if __name__ == "__main__":
    main()
