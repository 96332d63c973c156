"""Commands are imported on demand: a device needs nothing of what the workstation's need."""

import json
import subprocess
import sys

import click
import pytest

from osd_edge.cli.main import cli

COMMANDS = [
    *("api", "bench", "chat", "compare", "completion", "demo", "doctor", "evaluate", "export"),
    *("inspect", "run", "serve", "verify"),
]
EXPORTS = ["adapter", "base", "task"]
HELPED = [(), *((name,) for name in COMMANDS), *(("export", name) for name in EXPORTS)]
WORKSTATION = {"torch", "transformers", "onnx", "safetensors", "optimum", "matplotlib", "PIL"}


def modules_after(*arguments: str) -> set[str]:
    """The modules that a fresh process has loaded after `osd-edge ARGUMENTS`."""
    code = (
        "import json, sys\n"
        "from osd_edge.cli.main import cli\n"
        f"cli.main({list(arguments)!r}, standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.fixture
def context() -> click.Context:
    return click.Context(cli)


def test_every_command_is_found_by_its_name(context: click.Context) -> None:
    assert cli.list_commands(context) == COMMANDS
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None and command.name == name and command.get_short_help_str()
    assert cli.get_command(context, "no-such") is None


def test_export_has_its_subcommands(context: click.Context) -> None:
    export = cli.get_command(context, "export")
    assert isinstance(export, click.Group)
    assert export.list_commands(context) == EXPORTS


@pytest.mark.parametrize("name", ["run", "inspect"])
def test_a_command_imports_no_other(name: str) -> None:
    loaded = modules_after(name, "--help")
    module = {"run": "device", "inspect": "inspect_bundle"}[name]
    commands = {f"osd_edge.cli.{other}" for other in ("export", "compare", "demo", "bench")}
    assert f"osd_edge.cli.{module}" in loaded
    assert not loaded & (commands | WORKSTATION | {"osd_edge.exporters"})


@pytest.mark.parametrize("words", HELPED, ids=" ".join)
def test_no_help_waits_for_numpy(words: tuple[str, ...]) -> None:
    """Nor for anything heavier: what takes longer than the help is not there to be shown."""
    assert not modules_after(*words, "--help") & (WORKSTATION | {"numpy", "onnxruntime"})
