"""Starts the trials of numpy, onnxruntime and a small base, and tells how each of them went."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass

from osd_edge.device_tests.doctor.trials import TRIALS
from osd_edge.errors import shown

_SECONDS = 60  # for all of them together: far more than a slow device takes


@dataclass(frozen=True)
class Finding:
    """The outcome of one trial: its name, whether that works here, and what there is to say."""

    name: str
    works: bool
    words: str


def find() -> tuple[Finding, ...]:
    """Makes the trials in another process; after one that ended it, there are no more."""
    command = [sys.executable, "-m", "osd_edge.device_tests.doctor.trials"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        output, how = ended.stdout, _how(ended.returncode, ended.stderr)
    except subprocess.TimeoutExpired as late:
        given = late.stdout or ""
        output = given.decode(errors="replace") if isinstance(given, bytes) else given
        how = f"no end within {_SECONDS} s"
    except OSError as error:
        output, how = "", f"no process could be started: {error}"
    findings = _findings_in(output)
    left = list(TRIALS)[len(findings) :]
    if left and (not findings or findings[-1].works):
        findings.append(Finding(left[0], False, how))
    return tuple(findings)


def _findings_in(output: str) -> list[Finding]:
    """The lines that a trial has written; a library may have written others between them."""
    found = []
    for line in output.splitlines():
        try:
            finding = Finding(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found.append(finding)
    return found


def _how(returncode: int, errors: str) -> str:
    if returncode < 0:
        try:
            return f"the process was ended by {signal.Signals(-returncode).name}"
        except ValueError:
            return f"the process was ended by signal {-returncode}"
    last = (errors.strip().splitlines() or ["no message"])[-1]
    return f"the process ended with {returncode}: {shown(last, 200)}"
