"""`osd-edge`: the group of all commands, and the entry point of the command line."""

import contextlib
import io
import sys
from importlib import import_module

import click

from osd_edge import __version__
from osd_edge.cli.bars import leave_bars
from osd_edge.cli.options import COMPLETION_VARIABLE, example
from osd_edge.cli.output import refusal_line
from osd_edge.errors import Code, OsdEdgeError
from osd_edge.signals import Ended, ending_in_order

# Where each command is: a module of this folder, and its name there.
_COMMANDS = {
    "api": "api:api",
    "bench": "bench:bench",
    "chat": "chat:chat",
    "compare": "compare:compare",
    "completion": "completion:completion",
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "evaluate": "device:evaluate",
    "export": "export:export",
    "inspect": "inspect_bundle:inspect",
    "run": "device:run",
    "serve": "serve:serve",
    "verify": "verify_bundle:verify",
}


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is asked for, not before.

    So a device runs its commands without what the workstation's need, and starts sooner.
    """

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command `cmd_name`; gives None where there is none."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"osd_edge.cli.{module}"), name)
        return command


@click.group(
    cls=LazyGroup,
    # Names alone, which click lists and proposes for a name that is mistyped.
    commands={name: click.Command(name) for name in _COMMANDS},
    epilog=example(
        "osd-edge run --base minilm --bundle mr.osd.safetensors --text 'a film of real charm'"
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="osd-edge")
def cli() -> None:
    """Many fine-tuned tasks over one base model: export on a workstation, swap on a device."""


def main() -> None:
    """Runs the command line: exit code 0 done, 1 refused or failed, 2 wrong usage.

    Ended by a signal it is 128 and the signal's number, after all is tidied up.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without our arrows
    try:
        with ending_in_order():
            cli.main(standalone_mode=True, complete_var=COMPLETION_VARIABLE)
    except Ended as ended:
        with contextlib.suppress(OSError):  # nobody may be listening any more
            leave_bars()
            click.echo(f"osd-edge: ended by {ended.signal.name}", err=True)
        raise
    except OsdEdgeError as error:
        leave_bars()
        click.echo(refusal_line(error), err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = {"gguf": "demo", "h11": "api", "segno": "serve", "tokenizers": "text"}
        extra |= {"uvicorn": "api"}
        name = (error.name or "").split(".")[0]
        if name in ("", "osd_edge"):
            raise
        leave_bars()
        click.echo(
            f"osd-edge: this command needs {name}: install osd-edge with its extra "
            f"[{extra.get(name, 'export')}], as README says [{Code.INPUT_MISSING_PACKAGE}]",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
