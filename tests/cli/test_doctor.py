"""`osd-edge doctor`, in fresh processes: on a machine that works, and on some that do not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from osd_edge.cli.main import cli
from osd_edge.device_tests.doctor.commands import COMMANDS, OPTIONAL
from osd_edge.exporters.graph.tracers import TRACERS
from tests.support.command_line import command_at, command_paths

CODE = """
import sys
from osd_edge.cli.main import main
try:
    main()
finally:
    assert not {"numpy", "onnxruntime", "torch", "transformers"} & set(sys.modules)
"""


def doctor(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`osd-edge doctor`; its own process imports nothing that could be broken."""
    return subprocess.run(
        [sys.executable, "-c", CODE, "doctor", *options],
        capture_output=True,
        text=True,
        env=os.environ | variables,
    )


def test_a_machine_that_works_is_told_of_in_plain_lines() -> None:
    done = doctor()
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    for name in ("numpy", "onnxruntime", "session", "int8", "int4"):
        assert [name, "yes"] in [line[:2] for line in lines]
    assert ["run", "yes"] in lines and ["export", "base", "yes"] in lines
    assert all(line.isprintable() and line == line.rstrip() for line in done.stdout.splitlines())


def test_programs_get_all_of_it() -> None:
    done = doctor("--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["works"] is True
    assert [finding["name"] for finding in told["findings"] if finding["works"]] == [
        *("numpy", "onnxruntime", "session", "int8", "int4")
    ]
    packages = {package["name"]: package for package in told["packages"]}
    assert packages["numpy"]["fits"] is True and packages["numpy"]["extras"] == []
    torch = [package["extras"] for package in told["packages"] if package["name"] == "torch"]
    assert {"export", "dev"} <= {extra for extras in torch for extra in extras}
    assert {command["name"]: command["runs"] for command in told["commands"]}["export task"]


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_a_report_names_neither_user_nor_home(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The interpreter's path is told, and what a broken package says of its own."""
    home, user = tmp_path / "homes" / "alice", "alice"
    broken = home / "numpy" / "__init__.py"
    broken.parent.mkdir(parents=True)
    broken.write_text("raise ImportError(f'no such library beside {__file__}, nor in /data/alice')")
    done = doctor(*options, HOME=str(home), LOGNAME=user, PYTHONPATH=str(home))
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "beside ~/numpy/__init__.py, nor in /data/USER" in said
    assert user not in said and str(home) not in said


@pytest.mark.parametrize("package", ["numpy", "onnxruntime"])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('a library is missing')", "ImportError: a library is missing"),
        ("raise ModuleNotFoundError('not here')", "ModuleNotFoundError: not here"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            "the process was ended by SIGILL",
        ),
        ("import os; os._exit(3)", "the process ended with 3: no message"),
    ],
    ids=["broken", "missing", "crashes", "exits"],
)
def test_a_package_that_does_not_work_is_told_of(
    package: str, code: str, words: str, tmp_path: Path
) -> None:
    tmp_path.joinpath(package).mkdir()
    tmp_path.joinpath(package, "__init__.py").write_text(code)
    done = doctor("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == f"osd-edge: {package} does not work here: {words} [device.unusable]"
    told = json.loads(done.stdout)
    assert told["works"] is False
    last = told["findings"][-1]
    assert last == {"name": package, "works": False, "words": words}
    commands = {command["name"]: command for command in told["commands"]}
    assert commands["run"]["runs"] is False
    assert commands["run"]["hindered"] == [f"{package} does not work"]
    assert commands["inspect"]["runs"] is (package == "onnxruntime")


def test_every_command_has_its_needs() -> None:
    paths = [path for path in command_paths(cli) if not isinstance(command_at(path), click.Group)]
    needed = {" ".join(path) for path in paths} - {"doctor", "completion"}
    assert {needs.command for needs in COMMANDS} == needed


def test_tracers_that_ask_for_more_are_among_the_optional() -> None:
    own = {f"export base --tracer {tracer}" for tracer in TRACERS[1:]}
    assert own <= set(OPTIONAL.values())
