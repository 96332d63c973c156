"""The wheel, in an empty environment: every sub-package is in it, and a device needs little."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow(reason="installs the wheel into a new virtual environment")

PROJECT = Path(__file__).parents[2]
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
    # Built away from the sources, which other tests read at the same time.
    setup = folder / "setup.cfg"
    setup.write_text(f"[build]\nbuild_base = {folder}\n[egg_info]\negg_base = {folder}\n")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder, PROJECT],
        check=True,
        cwd=folder,
        env=os.environ | {"DIST_EXTRA_CONFIG": str(setup)},
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


def run(environment: Path, *arguments: str | Path, **variables: str) -> str:
    result = subprocess.run(
        [environment / "venv" / "bin" / str(arguments[0]), *arguments[1:]],
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


def test_a_device_is_told_what_it_can_do_and_what_it_lacks(environment: Path) -> None:
    told = [line.split() for line in run(environment, "osd-edge", "doctor").splitlines()]
    assert {"session", "int8", "int4"} <= {words[0] for words in told if words[1:2] == ["yes"]}
    assert ["inspect", "yes"] in told and ["bench", "yes"] in told
    (lacking,) = (" ".join(words) for words in told if words[:3] == ["export", "task", "no"])
    assert " torch, transformers, " in lacking and "matplotlib" not in lacking
    assert lacking.endswith(" missing; pip install 'osd-edge[export]'")
    (texts,) = (" ".join(words) for words in told if words[:1] == ["run"])
    assert texts == "run no tokenizers missing; pip install 'osd-edge[text]'"


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
    assert (installed / "device_tests" / "emulated" / "init.sh").is_file()


def test_an_installed_project_is_packed_into_the_same_wheel(environment: Path) -> None:
    """So what is measured on another device is what is installed here."""
    code = """
from pathlib import Path
from osd_edge.device_tests.install.own_wheel import own_wheel
Path("again").mkdir()
print(own_wheel(Path("again")))
"""
    packed = Path(run(environment, "python", "-c", code).strip())
    (built,) = environment.glob("osd_edge-*.whl")
    contents = []
    for path in (built, environment / packed):
        with zipfile.ZipFile(path) as wheel:
            assert wheel.testzip() is None
            names = [name for name in wheel.namelist() if not name.endswith("/RECORD")]
            contents.append({name: wheel.read(name) for name in names})
    assert contents[0] == contents[1]
    target = environment / "target"
    run(environment, "python", "-m", "pip", "install", "-q", "--no-deps", "-t", target, packed)
    assert (target / "osd_edge" / "runtime" / "session.py").is_file()


def test_a_device_checks_itself_with_what_is_in_the_wheel(environment: Path) -> None:
    """And with numpy and onnxruntime alone: without click."""
    (wheel,) = environment.glob("osd_edge-*.whl")
    with zipfile.ZipFile(wheel) as archive:  # the phone page is in it where it has been built
        files = [x for x in archive.infolist() if "/web/page/" not in x.filename]
    code = sum(x.compress_size for x in files if x.filename.endswith(".py"))
    assert code < 800_000 and sum(x.compress_size for x in files) - code < 350_000
    data = next((environment / "venv").glob("lib/*/site-packages/osd_edge/device_tests/data"))
    source = PROJECT / "device_tests" / "data"
    for path in source.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert (data / path.relative_to(source)).read_bytes() == path.read_bytes(), path
    program = """
import runpy, sys
sys.modules["click"] = None
sys.argv = ["device_tests", "--quick", "--scenarios", "base", "--json", "report.json"]
runpy.run_module("osd_edge.device_tests", run_name="__main__")
"""
    lines = run(environment, "python", "-c", program).splitlines()
    assert lines[0].startswith("conformance") and "passed" in lines[0]
    assert lines[-1].startswith("PASSED")
    assert (environment / "report.json").is_file()
