"""The wheel, in an empty environment: every sub-package is in it, and a device needs little."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SUB_PACKAGES = sorted(
    {"osd_edge"}
    | {
        ".".join(("osd_edge", *path.parent.relative_to(root).parts))
        for root in (PROJECT,)
        for folder in ("exporters", "runtime", "device_tests")
        for path in (PROJECT / folder).rglob("__init__.py")
    }
    | {"osd_edge.cli"}
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel and what a device installs, nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder, PROJECT], check=True, cwd=folder
    )
    (wheel,) = folder.glob("osd_edge-*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [
            *(python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"),
            *("--constraint", PROJECT / "constraints.txt", wheel),
        ],
        check=True,
        cwd=folder,
    )
    return folder


def run(environment: Path, *arguments: str, **variables: str) -> str:
    result = subprocess.run(
        [environment / "venv" / "bin" / arguments[0], *arguments[1:]],
        capture_output=True,
        text=True,
        cwd=environment,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_device_gets_three_packages(environment: Path) -> None:
    listed = run(environment, "pip", "list", "--format", "freeze")
    names = {line.split("==")[0].lower() for line in listed.splitlines()}
    needed_by_onnxruntime = {"flatbuffers", "packaging", "protobuf"}
    tools = {"pip", "setuptools"}
    assert names - needed_by_onnxruntime - tools == {"osd-edge", "numpy", "onnxruntime", "click"}


def test_the_command_line_and_the_runtime_work_there(environment: Path, tiny_base: Path) -> None:
    assert "export" in run(environment, "osd-edge", "--help")
    code = f"""
import numpy, osd_edge.runtime as r, osd_edge.device_tests
print(r.EdgeSession({str(tiny_base)!r}).run({{"input_ids": numpy.ones((1, 3), int)}}).hidden.shape)
"""
    assert run(environment, "python", "-c", code).strip() == "(1, 3, 32)"


def test_every_sub_package_is_in_the_wheel(environment: Path) -> None:
    """Third-party packages of the workstation are lent by the environment of this test."""
    assert {"osd_edge.exporters.demo", "osd_edge.runtime"} <= set(SUB_PACKAGES)
    code = f"""
import importlib
for name in {SUB_PACKAGES!r}:
    print(importlib.import_module(name).__file__)
"""
    lent = sysconfig.get_paths()["purelib"]
    files = run(environment, "python", "-c", code, PYTHONPATH=lent).split()
    assert len(files) == len(SUB_PACKAGES)
    assert all(file.startswith(str(environment)) for file in files), files


def test_every_module_is_in_the_wheel(environment: Path) -> None:
    installed = next((environment / "venv").glob("lib/*/site-packages/osd_edge"))
    for folder in ("osd_edge", "exporters", "runtime", "device_tests"):
        for path in [*(PROJECT / folder).rglob("*.py"), *(PROJECT / folder).rglob("*.toml")]:
            parts = path.relative_to(PROJECT).parts
            below = parts[1:] if folder == "osd_edge" else parts
            if folder == "osd_edge" and below[0] in ("exporters", "runtime", "device_tests"):
                continue  # the links for type checkers
            assert installed.joinpath(*below).is_file(), path
    assert (installed / "py.typed").is_file()
