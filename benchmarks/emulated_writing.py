"""A decoder that writes text on the emulated 512 MB machine, with many tasks loaded.

    python -m benchmarks.emulated_writing --base DIR --bundle FILE -o OUT [--tasks 20]

writes OUT/emulated-writing.json (schema `osd-edge-bench/1`): memory with a task writing, and as
tasks are loaded, and the instructions of some tokens. No times, since an emulated machine has none
to tell. It takes many minutes.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from osd_edge.data.files import make_folder, write_file
from osd_edge.data.progress import silent
from osd_edge.data.sizes import format_size
from osd_edge.device_tests.devices.emulated_pi import EmulatedPi
from osd_edge.device_tests.emulated.boot import PROGRAM_FOLDER, Program, run
from osd_edge.device_tests.emulated.build import build
from osd_edge.device_tests.measure import keep_nothing
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.render.figures import text_of
from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.schema import Report, Scenario
from osd_edge.errors import Code, DeviceError

_SCENARIOS = ("generate", "generate-tasks")
_LIMIT_SECONDS = 2 * 3600.0
_PROMPT, _ANSWER = 8, 4  # tokens: each takes seconds


def measure(base: Path, bundle: Path, tasks: int) -> Report:
    """Everything, as one report of an emulated machine. Raises DeviceError."""
    plan = Plan(
        base=base,
        bundles=(bundle,),
        scenarios=_SCENARIOS,
        tokens=_PROMPT,
        answer_tokens=_ANSWER,
        tasks=tasks,
        repeats=1,
    )
    report = EmulatedPi().run(plan, silent, keep_nothing)
    report["scenarios"].append(instructions(base, bundle))
    return check_report(report)


def instructions(base: Path, bundle: Path) -> Scenario:
    """Counts instructions up to the first token of an answer and of those after it."""
    with tempfile.TemporaryDirectory(prefix="osd-edge-count-") as name:
        folder, into = Path(name, "job"), Path(name, "back")
        into.mkdir()
        shutil.copytree(base, folder / "base")
        shutil.copyfile(bundle, folder / bundle.name)
        arguments = ["-m", "osd_edge.device_tests.programs.writing_instructions"]
        arguments += [f"{PROGRAM_FOLDER}/base", f"{PROGRAM_FOLDER}/{bundle.name}"]
        arguments += ["--tokens", str(_PROMPT), "--answer", str(_ANSWER)]
        job = Program(arguments, folder, counting=True, limit_seconds=_LIMIT_SECONDS)
        ran = run(build(), job, into)
        if ran.status != 0:
            raise DeviceError(
                Code.DEVICE_BROKEN_OFF, f"no instructions counted: {ran.console[-2:]}"
            )
        counted: dict[str, Any] = json.loads((ran.out / "stdout").read_text("utf-8"))
    return {
        "id": "writing-instructions",
        "title": "instructions of an answer's tokens",
        "role": "osd-edge",
        "status": "done",
        "reason": None,
        "figures": {},
        "missing": {},
        "rows": [
            {
                "of": {"task": task},
                "figures": {
                    "first_token_instructions": median(found["first"]),
                    "token_instructions": median(found["others"]),
                },
                "missing": {},
            }
            for task, found in counted.items()
        ],
        "checks": [],
    }


def to_markdown(report: Report) -> str:
    """The tables that people quote."""
    found = {scenario["id"]: scenario for scenario in report["scenarios"]}
    lines = ["| tasks loaded | memory (PSS) | anonymous | peak RSS |", "|---|---|---|---|"]
    for row in found["generate-tasks"]["rows"]:
        sizes = [text_of(row, f"{n}_bytes") for n in ("pss", "anonymous", "peak_rss")]
        lines.append(f"| {row['of']['tasks']} | {' | '.join(sizes)} |")
    added = found["generate-tasks"]["figures"].get("per_task_bytes")
    lines += ["", f"A task more adds {format_size(round(added))}." if added else "", ""]  # type: ignore[arg-type]
    lines += ["| millions of instructions | first token | each other |", "|---|---|---|"]
    for row in found["writing-instructions"]["rows"]:
        figures: Any = row["figures"]
        counts = [f"{figures[f'{n}_instructions'] / 1e6:,.0f}" for n in ("first_token", "token")]
        lines.append(f"| {row['of']['task']} | {' | '.join(counts)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write the report and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emulated_writing")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR")
    parser.add_argument("--bundle", type=Path, required=True, metavar="FILE")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tasks", type=int, default=20, metavar="N")
    chosen = parser.parse_args()
    make_folder(chosen.out)
    report = measure(chosen.base, chosen.bundle, chosen.tasks)
    write_file(chosen.out / "emulated-writing.json", (json.dumps(report, indent=1) + "\n").encode())
    print(to_markdown(report))


if __name__ == "__main__":
    main()
