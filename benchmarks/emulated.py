"""Many tasks over one base against as many fine-tuned models, on the emulated 512 MB machine.

    python -m benchmarks.emulated -o OUT [--tasks 20] [--tokens 128]

writes OUT/emulated.json (schema `osd-edge-bench/1`) and OUT/emulated.md. Memory and counts of
instructions; no times, since an emulated machine has none to tell.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.synthetic_tasks import minilm_with_tasks
from osd_edge.data.files import make_folder, write_file
from osd_edge.data.progress import silent
from osd_edge.data.sizes import format_size
from osd_edge.device_tests.devices.emulated_pi import EmulatedPi
from osd_edge.device_tests.emulated.boot import PROGRAM_FOLDER, Program, run
from osd_edge.device_tests.emulated.build import EmulatedMachine, build
from osd_edge.device_tests.measure import keep_nothing
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.schema import Report, Scenario
from osd_edge.errors import Code, DeviceError
from osd_edge.formats.package.manifest import PLAIN_MODEL, WEIGHTS

_SCENARIOS = ("imports", "base", "task", "tasks")
_LIMIT_SECONDS = 2 * 3600.0
_MEMORY = ("rss", "pss", "uss", "anonymous")


def measure(base: Path, bundles: Sequence[Path], tokens: int) -> Report:
    """Everything, as one report of an emulated machine. Raises DeviceError."""
    plan = Plan(
        base=base,
        bundles=tuple(bundles),
        scenarios=_SCENARIOS,
        tokens=tokens,
        tasks=len(bundles),
        repeats=1,
    )
    _say("the tasks")
    report = EmulatedPi().run(plan, silent, keep_nothing)
    machine = build()
    _say("fine-tuned models side by side")
    report["scenarios"].append(models_until_killed(machine, base, len(bundles), tokens))
    _say("instructions")
    report["scenarios"].append(instructions(machine, base, bundles[:2], tokens))
    return check_report(report)


def models_until_killed(machine: EmulatedMachine, base: Path, count: int, tokens: int) -> Scenario:
    """A session for each of `count` models, each a file of its own, until memory is gone.

    The models are copies of the plain graph and its weights: byte for byte what as many
    fine-tuned ones take, whatever the numbers in them.
    """
    with tempfile.TemporaryDirectory(prefix="osd-edge-models-") as name:
        folder, into = Path(name, "job"), Path(name, "back")
        into.mkdir()
        for number in range(count):
            copy = folder / f"model-{number:02}"
            copy.mkdir(parents=True)
            for part in (PLAIN_MODEL, WEIGHTS):
                shutil.copyfile(base / part, copy / part)
        size = sum((base / part).stat().st_size for part in (PLAIN_MODEL, WEIGHTS))
        models = [
            f"{PROGRAM_FOLDER}/{path.name}/{PLAIN_MODEL}" for path in sorted(folder.iterdir())
        ]
        arguments = ["-m", "osd_edge.device_tests.programs.many_models", "--tokens", str(tokens)]
        arguments += models
        ran = run(machine, Program(arguments, folder, limit_seconds=_LIMIT_SECONDS), into)
        printed = (ran.out / "stdout").read_text("utf-8").splitlines()
    lines: list[dict[str, Any]] = [json.loads(line) for line in printed if line.endswith("}")]
    opened = [line["memory"] for line in lines if "memory" in line]
    ended = next((line["ended"] for line in lines if "ended" in line), "the machine gave up")
    scenario = _scenario("models-until-killed", "a session per fine-tuned model", "today")
    scenario["figures"] = {
        "fitting_count": len(opened),
        "wanted_count": count,
        "disk_bytes": count * size,
    }
    if opened:
        scenario["figures"] |= _memory(opened[-1])
    scenario["rows"] = [
        {"of": {"tasks": number}, "figures": _memory(use), "missing": {}}
        for number, use in enumerate(opened, start=1)
    ]
    reached = f"{len(opened)} of {count} models opened and run"
    message = f"{reached}; then {ended}" if ended else reached
    scenario["checks"] = [{"id": "end", "passed": True, "message": message}]
    return scenario


def instructions(
    machine: EmulatedMachine, base: Path, bundles: Sequence[Path], tokens: int
) -> Scenario:
    """Counts the instructions of runs and swaps, on one processor whose clock counts them."""
    with tempfile.TemporaryDirectory(prefix="osd-edge-count-") as name:
        folder, into = Path(name, "job"), Path(name, "back")
        into.mkdir()
        shutil.copytree(base, folder / "base")
        for path in bundles:
            shutil.copyfile(path, folder / path.name)
        paths = [f"{PROGRAM_FOLDER}/{path.name}" for path in bundles]
        arguments = [
            "-m",
            "osd_edge.device_tests.programs.instructions",
            f"{PROGRAM_FOLDER}/base",
            *paths,
        ]
        arguments += ["--tokens", str(tokens)]
        job = Program(arguments, folder, counting=True, limit_seconds=_LIMIT_SECONDS)
        ran = run(machine, job, into)
        if ran.status != 0:
            raise DeviceError(
                Code.DEVICE_BROKEN_OFF, f"no instructions counted: {ran.console[-2:]}"
            )
        counted = json.loads((ran.out / "stdout").read_text("utf-8"))
    scenario = _scenario("instructions", "instructions of a run and of a swap", "osd-edge")
    scenario["figures"] = {"run_instructions": median(counted["base"]["run"]["again"])}
    scenario["rows"] = [
        {
            "of": {"task": name},
            "figures": {
                f"{what}_instructions": median(task[what]["again"])
                for what in ("run", "cold", "warm")
            },
            "missing": {},
        }
        for name, task in counted["tasks"].items()
    ]
    return scenario


def to_markdown(report: Report) -> str:
    """The tables that people quote."""
    found = {scenario["id"]: scenario for scenario in report["scenarios"]}
    tasks, models = found["tasks"], found["models-until-killed"]
    ours, today = tasks["figures"], models["figures"]
    count = f"{today['wanted_count']:.0f}"
    fitting = f"{today['fitting_count']:.0f}"
    rows = [
        ("fit", f"{ours['fitting_count']:.0f} of {count}", f"{fitting} of {count}"),
        *(
            (words, _size(ours.get(name)), f"{_size(today.get(name))} with {fitting}")
            for words, name in (
                ("peak of the process (RSS)", "peak_rss_bytes"),
                ("memory of the process (PSS)", "pss_bytes"),
                ("of that with no file behind it", "anonymous_bytes"),
            )
        ),
        ("each more adds (PSS)", _size(_slope(tasks)), _size(_slope(models))),
        ("files on disk", _size(ours.get("disk_bytes")), _size(today.get("disk_bytes"))),
    ]
    lines = [
        f"Measured {report['created'][:10]} on an emulated machine "
        f"({report['machine']['emulator']}), inputs of {report['plan']['tokens']} tokens; "
        "memory only, since an emulated machine's times are no device's.",
        "",
        f"| | {count} tasks over one base | {count} fine-tuned models |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"Fine-tuned models side by side: {models['checks'][0]['message']}.",
        "",
        *_instruction_table(found["instructions"]),
    ]
    return "\n".join(lines) + "\n"


def _instruction_table(scenario: Scenario) -> list[str]:
    alone = scenario["figures"]["run_instructions"]
    lines = ["| millions of instructions | run | cold swap | warm swap |", "|---|---|---|---|"]
    lines.append(f"| no task | {_millions(alone)} | | |")
    for row in scenario["rows"]:
        figures = row["figures"]
        cells = [_millions(figures[f"{what}_instructions"]) for what in ("run", "cold", "warm")]
        lines.append(f"| {row['of']['task']} | {' | '.join(cells)} |")
    return lines


def _slope(scenario: Scenario) -> float | None:
    """Bytes of PSS that each row's count adds, from the first row with one to the last."""
    points = [
        (int(row["of"]["tasks"]), row["figures"].get("pss_bytes")) for row in scenario["rows"]
    ]
    known = [(n, y) for n, y in points if n > 0 and isinstance(y, int | float)]
    if len(known) < 2:
        return None
    (first, low), (last, high) = known[0], known[-1]
    return (high - low) / (last - first)


def _memory(use: dict[str, int | None]) -> dict[str, Any]:
    figures = {f"{name}_bytes": use[name] for name in _MEMORY} | {"peak_rss_bytes": use["peak"]}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _scenario(name: str, title: str, role: Any) -> Scenario:
    return {
        "id": name,
        "title": title,
        "role": role,
        "status": "done",
        "reason": None,
        "figures": {},
        "missing": {},
        "rows": [],
        "checks": [],
    }


def _size(figure: Any) -> str:
    return "not available" if figure is None else format_size(round(figure))


def _millions(figure: Any) -> str:
    return f"{figure / 1e6:,.2f}"


def _say(line: str) -> None:
    print(f"emulated machine: {line}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and write both files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emulated")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tasks", type=int, default=20, metavar="N")
    parser.add_argument("--tokens", type=int, default=128, metavar="N", help="of an input")
    chosen = parser.parse_args()
    make_folder(chosen.out)
    base, bundles = minilm_with_tasks(chosen.tasks)
    report = measure(base, bundles, chosen.tokens)
    text = json.dumps(report, indent=1) + "\n"
    write_file(chosen.out / "emulated.json", text.encode())
    write_file(chosen.out / "emulated.md", to_markdown(report).encode())
    print(to_markdown(report))


if __name__ == "__main__":
    main()
