"""Searches for inputs that reach new branches, with atheris (libFuzzer for Python).

`python -m fuzz.search TARGET SECONDS OUT` is a process of its own, since the readers are made to
count their branches while they are imported, and libFuzzer ends the process when it is done.
"""

import importlib.util
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
    folder = out / "findings"
    before = set(folder.glob("*/*"))
    for target in GUIDED:
        part = str(max(1, int(seconds / len(GUIDED))))
        subprocess.run([sys.executable, "-m", "fuzz.search", target, part, str(out)])
    return len({path for path in set(folder.glob("*/*")) - before if not path.suffix})


def main() -> None:
    """Search one target, as the command line says."""
    import atheris

    name, seconds, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
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
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-", dir=out))
    for i, data in enumerate(pool):
        (scratch / f"seed-{i}").write_bytes(data)
    guard = Guard(target, scratch)
    found = out / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)

    def run(data: bytes) -> None:
        try:
            guard.outcome(data)
        except Fault as fault:
            findings.add(name, fault.title, fault.detail, data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        noise = Random(seed)
        return target.mutate(noise, data, noise.choice(pool))[:most]

    options = [f"-max_total_time={seconds}", f"-max_len={LARGEST_INPUT}", "-print_final_stats=1"]
    limits = ["-rss_limit_mb=4096", "-timeout=60", f"-artifact_prefix={out / 'findings' / name}-"]
    atheris.Setup(
        [sys.argv[0], *options, *limits, str(found), str(scratch)], run, custom_mutator=mutate
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
