"""Searches for inputs that reach new branches, with atheris (libFuzzer for Python).

`python -m fuzz.search TARGET SECONDS OUT SCRATCH` is a process of its own, since the readers are
made to count their branches while they are imported, and libFuzzer ends it when it is done.
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

GUIDED = ("bundle", "head", "manifest")  # readers in Python, whose branches can be counted


def available() -> bool:
    """Says that atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def search(seconds: float, out: Path) -> int:
    """Searches each target for its part of the time; gives how many findings were written."""
    out.mkdir(parents=True, exist_ok=True)
    before = _findings(out)
    part = str(max(1, int(seconds / len(GUIDED))))
    for target in GUIDED:
        log = out / f"search-{target}.log"
        with log.open("w", encoding="utf-8") as errors, tempfile.TemporaryDirectory() as scratch:
            command = (sys.executable, "-m", "fuzz.search", target, part, out, scratch)
            ended = subprocess.run(command, stderr=errors)
        text = log.read_text("utf-8", "replace")
        inputs = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
        kept = re.search(r"stat::new_units_added:\s*(\d+)", text)
        if inputs is None or kept is None:
            raise RuntimeError(f"the search of {target} fails: see {log}")
        early = f", ended early with status {ended.returncode}" if ended.returncode else ""
        print(f"atheris, {target}: {int(inputs[1]):,} inputs, {kept[1]} kept{early}", flush=True)
    return len(_findings(out) - before)


def _findings(out: Path) -> set[Path]:
    return {path for path in (out / "findings").glob("*/*") if not path.suffix}


def main() -> None:
    """Search one target, as the command line says."""
    import atheris

    name, seconds = sys.argv[1:3]
    out, scratch = Path(sys.argv[3]), Path(sys.argv[4])
    with atheris.instrument_imports(include=["osd_edge.formats"]):
        from fuzz.targets.table import TARGETS

    from fuzz.findings import Findings
    from fuzz.guard import Guard
    from fuzz.limits import LARGEST_INPUT
    from fuzz.outcome import Fault
    from fuzz.targets import seeds

    target = TARGETS[name]
    findings = Findings(out / "findings")
    pool = [*target.seeds(), *seeds.kept(name)]
    (files := scratch / "files").mkdir()
    guard = Guard(target, files)
    (inputs := scratch / "inputs").mkdir()
    for i, data in enumerate(pool):
        (inputs / str(i)).write_bytes(data)
    found = out / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    (out / "findings" / name).mkdir(parents=True, exist_ok=True)

    def run(data: bytes) -> None:
        try:
            guard.outcome(data)
        except Fault as fault:
            findings.add(name, fault.title, fault.detail, data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        noise = Random(seed)
        return target.mutant(noise, data, noise.choice(pool))[:most]

    options = [f"-max_total_time={seconds}", f"-max_len={LARGEST_INPUT}", "-print_final_stats=1"]
    limits = ["-rss_limit_mb=4096", "-timeout=60", f"-artifact_prefix={out / 'findings' / name}/"]
    atheris.Setup(
        [sys.argv[0], *options, *limits, str(found), str(inputs)], run, custom_mutator=mutate
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
