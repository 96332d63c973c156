"""Shell completion, asked for as a shell asks: by environment variables, in a fresh process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import run_cli

HEAVY = "numpy", "onnxruntime", "torch", "transformers"
CODE = """
import sys
from osd_edge.cli.main import main
try:
    main()
finally:
    print(*(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def completions(*words: str) -> list[str]:
    """The answer to a tab after the last of the words of a command line, as `type,value`."""
    asked = {
        "_OSD_EDGE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("osd-edge", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY)],
        capture_output=True,
        text=True,
        env=os.environ | asked,
    )
    assert done.stderr.split() == []  # nothing heavy was imported
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ex",), ["plain,export"]),
        (("export", ""), ["plain,adapter", "plain,base", "plain,task"]),
        (("do",), ["plain,doctor"]),
        (("ch",), ["plain,chat"]),
        (("chat", "--sy"), ["plain,--system"]),
        (("chat", "--bundle", "mr"), ["file,mr"]),
        (("export", "base", "--weights", "int"), ["plain,int8", "plain,int4"]),
        (("export", "task", "--method", "h"), ["plain,head"]),
        (("export", "task", "--refine", ""), ["plain,none", "plain,scales", "plain,codes"]),
        (
            (
                "run",
                "--mem",
            ),
            ["plain,--memory"],
        ),
        (("completion", ""), ["plain,bash", "plain,zsh", "plain,fish"]),
        (("inspect", "mr"), ["file,mr"]),
        (("run", "--base", "mini"), ["file,mini"]),
        (("export", "task", "--tuned", "my"), ["dir,my"]),
        (("export", "base", "my"), ["dir,my"]),
        (("run", "--text", "a"), []),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_tab_completes(words: tuple[str, ...], expected: list[str]) -> None:
    assert completions(*words) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run_cli(capsys, "completion", shell)
    assert printed.code == 0
    assert f"_OSD_EDGE_COMPLETE={shell}_complete" in printed.out
    assert printed.err == ""


def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    """Reads the script as a shell does, and calls its function for `osd-edge ex`."""
    bash = shutil.which("bash")
    assert bash is not None
    program = tmp_path / "osd-edge"
    start = "from osd_edge.cli.main import main; main()"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{start}" "$@"\n')
    program.chmod(0o755)
    lines = """
source <(osd-edge completion bash)
COMP_WORDS=(osd-edge ex) COMP_CWORD=1
_osd_edge_completion osd-edge
echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        [bash, "-c", lines],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stdout == "export\n", done.stderr
