"""The process that plays one scenario: reads a job, writes the sheet on standard output.

The answer is one JSON object: the sheet, or `{"refused": [code, message]}`.
"""

import importlib
import json
import os
import sys
from typing import Any

from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.errors import Code, InputError, OsdEdgeError
from osd_edge.signals import ending_in_order


def play(job: Job) -> dict[str, Any]:
    """Plays `job` in this process and returns its answer."""
    sheet = Sheet()
    try:
        if job.pin:
            _pin(job.pin)
        module = importlib.import_module(
            f"osd_edge.device_tests.scenarios.{job.scenario.replace('-', '_')}"
        )
        extra = module.run(job, sheet)
    except OsdEdgeError as error:
        return {"refused": [error.code, str(error)]}
    return sheet.as_dict() | ({} if extra is None else {"extra": extra})


def _pin(processors: tuple[int, ...]) -> None:
    try:
        os.sched_setaffinity(0, processors)
    except OSError as error:
        raise InputError(
            Code.INPUT_PIN,
            f"cannot stay on processors {','.join(map(str, processors))}: {error.strerror}; "
            f"usable are {','.join(map(str, sorted(os.sched_getaffinity(0))))}",
        ) from error


def main() -> None:
    """Reads the job, plays it, prints the answer; what libraries print goes to standard error."""
    with ending_in_order():  # by which folders are left tidily
        job = Job.from_json(sys.stdin.read())
        answer, sys.stdout = sys.stdout, sys.stderr
        print(json.dumps(play(job)), file=answer, flush=True)


if __name__ == "__main__":
    main()
