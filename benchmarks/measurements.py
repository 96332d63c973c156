"""docs/measurements.md: what tasks over all-MiniLM-L6-v2 cost, natively and emulated.

Makes a base package and a bundle of each checkpoint in SHARED (once: what is in the work folder
is used again), measures them here at one and at two threads, takes in the reports of other
machines that lie in the work folder as `emulated*.json`, and writes the page.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.measurements_page import page
from osd_edge.cli.bars import bar
from osd_edge.data.files import make_folder, write_file
from osd_edge.device_tests import Plan, Report, measure, read_report, to_html
from osd_edge.errors import OsdEdgeError

BUDGET = "16KiB"
TASKS = 20
_THREADS = (1, 2)


def prepare(shared: Path, work: Path) -> tuple[Path, list[Path]]:
    """The base package and a bundle for each checkpoint, made where they are not there yet."""
    from osd_edge.exporters import export_base, export_task
    from osd_edge.exporters.demo.minilm import minilm_folder
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    model, base = minilm_folder(), work / "minilm"
    if not base.is_dir():
        export_base(model, base, progress=bar)
    bundles = []
    for checkpoint in sorted((shared / "checkpoints").iterdir()):
        if not (checkpoint / "config.json").is_file():
            continue  # an adapter, of another base
        bundle = work / f"{checkpoint.name}.osd.safetensors"
        if not bundle.is_file():
            # Without a calibration set: that moves accuracy, not what a task costs on a device.
            export_task(model, checkpoint, bundle, budget=BUDGET, refine="none", progress=bar)
        bundles.append(bundle)
    return base, bundles


def measured(plan: Plan, threads: Sequence[int], work: Path) -> list[Report]:
    """A report for each number of threads, its JSON and its page kept in `work`."""
    reports = []
    for count in threads:
        path = work / f"native-{count}.json"

        def keep(report: Report, path: Path = path) -> None:
            write_file(path, (json.dumps(report, indent=1) + "\n").encode())

        report = measure(replace(plan, threads=count), progress=bar, keep=keep)
        write_file(path.with_suffix(".html"), to_html(report).encode())
        reports.append(report)
    return reports


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("-o", "--work", type=Path, default=Path("measurements-out"))
    parser.add_argument("--report", type=Path, default=Path("docs/measurements.md"))
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--quick", action="store_true", help="few runs: shows that it works")
    options = parser.parse_args(arguments)
    try:
        make_folder(options.work)
        base, bundles = prepare(options.shared, options.work)
        plan = Plan(base=base, bundles=tuple(bundles), tasks=options.tasks, scratch=options.work)
        native = measured(plan.quick() if options.quick else plan, _THREADS, options.work)
        emulated = [read_report(path) for path in sorted(options.work.glob("emulated*.json"))]
        write_file(options.report, page([*native, *emulated]).encode())
    except OsdEdgeError as error:
        print(f"{error} [{error.code}]", file=sys.stderr)
        return 1
    print(f"{options.report}: {len(native)} native and {len(emulated)} emulated")
    failed = [r["verdict"]["line"] for r in native if r["verdict"]["status"] == "failed"]
    print("\n".join(failed), end="\n" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
