"""Starts the process that plays a scenario, and makes sense of how it ends."""

import json
import signal
import subprocess
import sys
from subprocess import PIPE
from typing import Any

from osd_edge.device_tests.job.sheet import Job
from osd_edge.errors import Code, DeviceError, refusal_of, shown

_GRACE_SECONDS = 10.0


def play_in_process(job: Job) -> dict[str, Any]:
    """Plays `job` in a fresh process; raises what was refused there, or DeviceError."""
    command = [sys.executable, "-m", "osd_edge.device_tests.scenarios.play"]
    try:
        process = subprocess.Popen(command, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    except OSError as error:
        raise DeviceError(Code.DEVICE_PROCESS, f"no process could be started: {error}") from error
    with process:
        try:
            output, errors = process.communicate(job.to_json())
        except BaseException:
            _stop(process)
            raise
    if process.returncode != 0:
        raise _end_of(process.returncode, errors)
    try:
        answer = json.loads(output)
    except ValueError as error:
        raise DeviceError(Code.DEVICE_PROCESS, "the process ended without an answer") from error
    if "refused" in answer:
        raise refusal_of(*answer["refused"])
    found: dict[str, Any] = answer
    return found


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends the process politely first, so that it removes the files it has made."""
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _end_of(returncode: int, stderr: str) -> DeviceError:
    if returncode == -signal.SIGKILL:
        return DeviceError(
            Code.DEVICE_KILLED,
            "the process was killed, perhaps out of memory: try fewer --tasks, or a base of int8",
        )
    if returncode < 0:
        return DeviceError(Code.DEVICE_SIGNAL, f"the process was ended by signal {-returncode}")
    last = (stderr.strip().splitlines() or ["no message"])[-1]
    if last.startswith("MemoryError"):
        return DeviceError(
            Code.DEVICE_MEMORY,
            "the process ran out of memory: try fewer --tasks, or a base of int8",
        )
    return DeviceError(Code.DEVICE_PROCESS, f"the process failed: {shown(last, 200)}")
