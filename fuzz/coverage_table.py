"""Counts which branches of every reader and decoder the fuzzing reaches, and prints a table."""

import importlib.util
import json
import multiprocessing
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from fuzz.guard import Guard
from fuzz.outcome import Fault
from fuzz.targets import seeds
from fuzz.targets.table import TARGETS

LEAST = 95.0  # per cent of the branches, of each file and of all
_FORMATS = seeds.PROJECT / "osd_edge" / "formats"
# What writes, sums up, feeds or names, people's words too: no file from outside gets there.
_NO_READERS = {"writer.py", "coded_writer.py", "summary.py", "feeds.py", "pixels.py", "limits.py"}
_NO_READERS |= {"named_bundle.py"}
# Links, and folders that change while they are opened: no bytes are read there, and tests do it.
_NO_READERS |= {"open_folder.py"}
# Mutants of each target, beside seeds and the kept corpus; graphs take their time.
_MUTANTS = {"bundle": 6000, "head": 2000, "manifest": 3000, "graph-file": 4000, "graph": 100}


def print_coverage() -> int:
    """Prints the table; the exit status is 1 where too few branches are reached."""
    try:
        import coverage
    except ImportError:
        print("expected the coverage package: pip install '.[fuzz]'")
        return 1
    files = [path for path in sorted(_FORMATS.rglob("*.py")) if path.name not in _NO_READERS]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        context = multiprocessing.get_context("spawn")
        running = []
        for name, mutants in _MUTANTS.items():
            data = Path(folder, f"data.{name}")
            arguments = (name, mutants, data, [str(path) for path in files])
            running.append((name, data, context.Process(target=_trace, args=arguments)))
        for _, _, process in running:
            process.start()
            process.join()
        ended = [name for name, data, _ in running if not data.exists()]
        whole = coverage.Coverage(data_file=str(Path(folder, "data")), config_file=False)
        whole.combine([str(data) for _, data, _ in running if data.exists()])
        report = Path(folder, "report.json")
        with report.with_suffix(".txt").open("w", encoding="utf-8") as log:
            whole.json_report(outfile=str(report))
            log.close()
        found = json.loads(report.read_text("utf-8"))["files"]
    for name in ended:
        print(f"the process of {name} ended: its branches do not count")
    return print_table(
        files, {(seeds.PROJECT / name).resolve(): one for name, one in found.items()}
    )


def _trace(name: str, mutants: int, data: Path, files: list[str]) -> None:
    """Runs one target with its branches counted, in a process of its own."""
    import coverage

    counter = coverage.Coverage(data_file=str(data), branch=True, include=files, config_file=False)
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        guard = Guard(target, Path(folder))
        pool = [*target.seeds(), *seeds.kept(name)]
        noise = Random(f"coverage {name}")
        counter.start()
        _load_anew(files)
        for i in range(len(pool) + mutants):
            mutate = i >= len(pool)
            one = (
                target.mutant(noise, noise.choice(pool), noise.choice(pool)) if mutate else pool[i]
            )
            try:
                guard.outcome(one)
            except Fault:
                continue  # 'run' tells of it
        counter.stop()
    counter.save()


def _load_anew(files: list[str]) -> None:
    """Runs the modules' own lines once more, apart: they ran before anything was counted."""
    for file in files:
        name = ".".join(Path(file).relative_to(seeds.PROJECT).with_suffix("").parts)
        spec = importlib.util.spec_from_file_location(name.removesuffix(".__init__"), file)
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def print_table(files: list[Path], found: dict[Path, dict[str, Any]]) -> int:
    """Prints the branches of each file, of coverage's figures; gives the exit status."""
    print("| Reader or decoder | Branches | Reached | Not reached, by line |\n|---|---:|---:|---|")
    total = reached = failed = 0
    for path in files:
        one = found.get(path.resolve(), {"summary": {}, "missing_branches": []})
        branches = one["summary"].get("num_branches", 0)
        taken = one["summary"].get("covered_branches", 0)
        total, reached = total + branches, reached + taken
        if branches:
            missed = ", ".join(f"{a} → {b}" for a, b in one["missing_branches"][:12])
            failed |= 100 * taken < LEAST * branches
            name = path.relative_to(seeds.PROJECT)
            print(f"| `{name}` | {branches} | {100 * taken / branches:.1f} % | {missed} |")
    failed |= 100 * reached < LEAST * total
    print(f"| all | {total} | {100 * reached / max(total, 1):.1f} % | |")
    if failed or not total:
        print(f"fewer than {LEAST:.0f} % of the branches of a file, or of all, are reached")
    return int(failed or not total)
