"""Measures this device from the command line: `python -m osd_edge.device_tests`.

Offline, with nothing but numpy and onnxruntime (not even click): conformance, then every
scenario, then a verdict in one line. Exit codes: 0 passed, 1 failed or broken off, 2 wrong usage.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from osd_edge import __version__
from osd_edge.data.files import check_file_writable, check_outputs, write_file
from osd_edge.data.sizes import format_size
from osd_edge.device_tests.measure import measure
from osd_edge.device_tests.plan import OPTIONS, SCENARIOS, Plan, plan_of
from osd_edge.device_tests.report.schema import Report, Scenario, middle
from osd_edge.errors import OsdEdgeError, shown
from osd_edge.formats.named_bundle import named_bundle
from osd_edge.signals import ending_in_order

T = TypeVar("T")

_TYPES: dict[str, Any] = {"whole": int, "number": float, "path": Path}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        plan = _plan(options)
        if options.json is not None:
            bundles = [named_bundle(given).path for given in plan.bundles]
            check_outputs({"--json": options.json}, [plan.base, *bundles])
            check_file_writable(options.json)
    except OsdEdgeError as error:
        print(f"osd-edge: {shown(str(error), 600)} [{error.code}]", file=sys.stderr)
        return 2 if error.code.startswith("input.") else 1
    watcher = _Watcher(options.json)
    try:
        # A driver that gives up ends this process politely: what there is has been written by then.
        with ending_in_order():
            report = measure(plan, progress=watcher.progress, keep=watcher.keep)
    except OsdEdgeError as error:
        print(f"osd-edge: {shown(str(error), 600)} [{error.code}]", file=sys.stderr)
        watcher.print_verdict()
        return 1
    except (KeyboardInterrupt, SystemExit):
        watcher.print_verdict()
        return 1
    watcher.print_verdict()
    return 0 if report["verdict"]["status"] == "passed" else 1


class _Watcher:
    """Writes the report after each step, and a line about each scenario that is over."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._report: Report | None = None
        self._printed: set[str] = set()

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Passes the steps through: this command prints lines, which a log can keep, and no bar."""
        yield from items

    def keep(self, report: Report) -> None:
        """Takes the report so far."""
        self._report = report
        if self._file is not None:
            write_file(self._file, (json.dumps(report, indent=1) + "\n").encode())
        conformance = report["conformance"]
        if conformance["status"] != "not_run":
            wrong = len(conformance["failures"])
            self._print_once(
                "conformance",
                f"{conformance['status']}, {conformance['cases'] - wrong} of "
                f"{conformance['cases']} cases",
            )
            for failure in conformance["failures"]:
                self._print_once(
                    f"  {failure['id']}",
                    f"expected {failure['expected']}, found {failure['found']}",
                )
        for scenario in report["scenarios"]:
            if scenario["status"] != "not_reached":
                self._print_once(scenario["id"], _line(scenario))

    def print_verdict(self) -> None:
        """Prints the verdict, the last line."""
        if self._report is not None:
            _say(self._report["verdict"]["line"])

    def _print_once(self, name: str, line: str) -> None:
        if name not in self._printed:
            self._printed.add(name)
            _say(f"{name:20} {line}")


def _say(line: str) -> None:
    """Prints a line as long as anybody listens; without a listener the measurement goes on."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(scenario: Scenario) -> str:
    """Words what a scenario found, in one line."""
    if scenario["reason"] is not None:
        reason = scenario["reason"]
        return f"{scenario['status']}: {reason['message']} [{reason['code']}]"
    words = []
    for name, unit in (
        ("latency_ms", "ms a run"),
        ("first_token_ms", "ms to the first token"),
        ("token_ms", "ms a token"),
        ("request_ms", "ms a request"),
        ("cold_ms", "ms cold swap"),
        ("warm_ms", "ms warm swap"),
        ("session_ms", "ms to open"),
    ):
        figure = middle(scenario["figures"].get(name))
        if figure is not None:
            words.append(f"{figure:.3g} {unit}")
    memory = middle(scenario["figures"].get("pss_bytes"))
    if memory is not None:
        words.append(f"{format_size(memory)} PSS")
    fitting, wanted = (scenario["figures"].get(f"{w}_count") for w in ("fitting", "wanted"))
    if fitting is not None and wanted is not None:
        words.append(f"{fitting:g} of {wanted:g} fit")
    wrong = [check["message"] for check in scenario["checks"] if not check["passed"]]
    return ", ".join([*words, *(f"WRONG: {message}" for message in wrong)]) or "done"


def _plan(options: argparse.Namespace) -> Plan:
    plan = plan_of(vars(options))
    return plan.quick() if options.quick else plan


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m osd_edge.device_tests",
        description="Conformance and measurement of OSD Edge on this device.",
        epilog=f"The scenarios are {', '.join(scenario.id for scenario in SCENARIOS)}.",
    )
    add = parser.add_argument
    add("--version", action="version", version=__version__)
    for option in OPTIONS:
        text = option.help[0].lower() + option.help[1:].removesuffix(".")
        add(
            option.flag,
            dest=option.name,
            type=_TYPES.get(option.kind, str),
            action="append" if option.repeated else "store",
            default=option.unset,
            metavar=option.metavar,
            help=f"{text} ({option.default})" if option.is_number else text,
        )
    add("--quick", action="store_true", help="few runs: shows that all works; times say little")
    add("--json", type=Path, metavar="FILE", help="the report, rewritten after each scenario")
    return parser


if __name__ == "__main__":
    sys.exit(main())
