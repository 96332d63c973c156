"""`python -m fuzz run|replay|search|coverage|keep`: feed mutated files to every reader.

* `run`: the seeded loop over all targets, for a time or a number of mutants.
* `replay FILE ...`: give inputs to their target once more; the folder that one is in names it.
* `search`: inputs guided by coverage, with atheris.
* `coverage`: which branches of the readers the seeds, the corpus and a seeded run reach.
* `keep`: make the kept corpus anew of what runs have found.

Findings and new inputs go to `fuzz-out/`; with findings the exit status is 1. docs/fuzzing.md says
more.
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

from fuzz.corpus import keep
from fuzz.coverage_table import print_coverage
from fuzz.findings import Findings
from fuzz.javascript import missing
from fuzz.loop import FuzzPlan, Tally, run_target
from fuzz.replay import replay
from fuzz.search import available, search
from fuzz.targets.table import TARGETS

_GUIDED_FROM = 600  # seconds of a run, of which a third then goes to atheris where it is installed


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    length = run.add_mutually_exclusive_group(required=True)
    length.add_argument("--seconds", type=float)
    length.add_argument("--inputs", type=int)
    run.add_argument("--processes", type=int, default=2)
    run.add_argument("--seed", type=int, default=1)
    again = commands.add_parser("replay")
    again.add_argument("files", type=Path, nargs="+")
    guided = commands.add_parser("search")
    guided.add_argument("--seconds", type=float, required=True)
    commands.add_parser("coverage")
    kept = commands.add_parser("keep")
    for command in (run, guided, kept):
        command.add_argument("--out", type=Path, default=Path("fuzz-out"))
    run.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    given = parser.parse_args()
    if given.command == "replay":
        sys.exit(replay(given.files))
    if given.command == "coverage":
        sys.exit(print_coverage())
    if given.command == "keep":
        keep(given.out)
        sys.exit()
    if given.command == "search":
        sys.exit(1 if search(given.seconds, given.out) else 0)
    sys.exit(_run(given))


def _run(given: argparse.Namespace) -> int:
    reason = missing()
    if reason:
        print(f"Python and JavaScript are not compared: {reason}")
        if os.environ.get("CI"):
            return 1
    given.out.mkdir(parents=True, exist_ok=True)
    findings = Findings(given.out / "findings")
    chosen = [TARGETS[name] for name in given.targets]
    guided = 0
    if given.seconds and given.seconds >= _GUIDED_FROM and available():
        guided = search(given.seconds / 3, given.out)
        given.seconds -= given.seconds / 3
    # The shares of those that are left out go to the others.
    seconds = given.seconds and given.seconds / sum(target.share for target in chosen)
    inputs = given.inputs and int(given.inputs / sum(target.inputs for target in chosen))
    plan = FuzzPlan(seconds, inputs, given.processes, given.seed, given.out, not reason)
    tallies: list[Tally] = []
    failed = False
    for target in chosen:
        tallies.append(Tally(target.name))
        try:
            run_target(target, plan, findings, tallies[-1])
        except RuntimeError as error:  # of the fuzzer's own: what was found is told all the same
            print(error)
            failed = True
    _report(tallies, findings.counts)
    return 1 if findings.counts or guided or failed else 0


def _report(tallies: list[Tally], findings: Counter[tuple[str, str]]) -> None:
    """Print a table of the targets, then how many mutants came to which code."""
    print("| Target | Mutants | Seconds | A second | Codes | Kept | Findings |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for tally in [*tallies, _total(tallies)]:
        found = sum(
            count for (target, _), count in findings.items() if tally.target in (target, "all")
        )
        number = len(set(tally.codes) - {"a finding"})
        print(
            f"| {tally.target} | {tally.inputs:,} | {tally.seconds:.0f} | "
            f"{tally.inputs / max(tally.seconds, 1e-9):,.0f} | {number} | {tally.kept} | {found} |"
        )
    for tally in tallies:
        codes = ", ".join(f"{code} {count:,}" for code, count in tally.codes.most_common())
        print(f"\n{tally.target}: {codes}")
    for (target, title), inputs in findings.most_common():
        print(f"\nFINDING {target}: {title} ({inputs:,} inputs)")


def _total(tallies: list[Tally]) -> Tally:
    total = Tally("all")
    for tally in tallies:
        total.inputs += tally.inputs
        total.seconds += tally.seconds
        total.kept += tally.kept
        total.codes += tally.codes
    return total


if __name__ == "__main__":
    main()
