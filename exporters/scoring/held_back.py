"""The split of calibration rows: some tune, others are held back to score, and none does both."""

import random
from collections.abc import Sequence

from osd_edge.data.examples import Example
from osd_edge.errors import Code, DataError

KEEP_ROWS = 200  # fewest rows from which a share of quality can be told
FEWEST_ROWS = _SHARE = 5  # one row in five is held back, so that fewer hold none back
_SCORED = 100  # and this many where there are `KEEP_ROWS`
_MOST_SCORED = 400  # more would tell little more, and are worth more as texts to tune on


def check_keep_rows(count: int) -> None:
    """Refuse (DataError `data.few-rows`) too few calibration rows for --keep."""
    if count < KEEP_ROWS:
        raise DataError(
            Code.DATA_FEW_ROWS,
            f"--keep needs at least {KEEP_ROWS} calibration rows to tell a share of quality, "
            f"found {count}: give more, or --budget in its place",
        )


def split(
    examples: Sequence[Example], seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Rows that tune and rows held back, by a seeded draw; one row alone tunes."""
    count = len(examples) // _SHARE
    if len(examples) >= KEEP_ROWS:
        count = max(count, _SCORED)
    count = min(count, _MOST_SCORED)
    held = set(random.Random(seed).sample(range(len(examples)), count))
    return (
        tuple(e for i, e in enumerate(examples) if i not in held),
        tuple(e for i, e in enumerate(examples) if i in held),
    )
