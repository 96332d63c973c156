"""Starting the process that plays a scenario, and making sense of how it ends."""

import json
import signal
import subprocess
import sys
from typing import Any

from osd_edge import errors
from osd_edge.device_tests.job import Job
from osd_edge.errors import DeviceError, OsdEdgeError, shown


def play_apart(job: Job) -> dict[str, Any]:
    """Play `job` in a fresh process; raises what was refused there, or DeviceError."""
    command = [sys.executable, "-m", "osd_edge.device_tests.play"]
    try:
        done = subprocess.run(command, input=job.to_json(), capture_output=True, text=True)
    except OSError as error:
        raise DeviceError("device.process", f"no process could be started: {error}") from error
    if done.returncode != 0:
        raise _end_of(done.returncode, done.stderr)
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise DeviceError("device.process", "the process ended without an answer") from error
    if "refused" in answer:
        kind, code, message = answer["refused"]
        refusal: type[OsdEdgeError] = getattr(errors, kind, OsdEdgeError)
        raise refusal(code, message)
    found: dict[str, Any] = answer
    return found


def _end_of(returncode: int, stderr: str) -> DeviceError:
    if returncode == -signal.SIGKILL:
        return DeviceError("device.killed", "the process was killed: perhaps out of memory")
    if returncode < 0:
        return DeviceError("device.signal", f"the process was ended by signal {-returncode}")
    last = (stderr.strip().splitlines() or ["no message"])[-1]
    if last.startswith("MemoryError"):
        return DeviceError("device.memory", "the process ran out of memory")
    return DeviceError("device.process", f"the process failed: {shown(last, 200)}")
