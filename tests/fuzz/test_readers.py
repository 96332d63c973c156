"""Every reader on mutants: decoded, or refused with a code of its own."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from fuzz.outcome import refused
from fuzz.targets import seeds
from fuzz.targets.table import TARGETS
from osd_edge.errors import OsdEdgeError

# The targets that cannot end the process; the others have one of their own in `make fuzz`.
IN_PROCESS = ("bundle", "head", "manifest")


@pytest.mark.parametrize("name", IN_PROCESS)
def test_mutants_are_decoded_or_refused(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    run = target.opened(tmp_path)
    noise = Random(5)
    pool = [*target.seeds(), *seeds.kept(name)]
    codes: Counter[str] = Counter()
    for i in range(len(pool) + 600):
        mutant = i >= len(pool)
        data = target.mutant(noise, noise.choice(pool), noise.choice(pool)) if mutant else pool[i]
        try:
            outcome = run(data)
        except OsdEdgeError as error:
            outcome = refused(error, target.kinds)
        codes[outcome.code] += 1
    assert codes["accepted"] > 20 and len(codes) >= 3, codes
