"""The split of calibration rows: some tune, others are held back to score, and none does both."""

import random
from collections.abc import Hashable, Sequence

from osd_edge.data.examples import Example, check_pairs
from osd_edge.errors import Code, DataError, InputError

KEEP_ROWS = 200  # fewest rows from which a share of quality can be told
FEWEST_ROWS = _SHARE = 5  # one row in five is held back, so that fewer hold none back
_SCORED = 100  # and this many where there are `KEEP_ROWS`
_MOST_SCORED = 400  # more would tell little more, and are worth more as texts to tune on


def check_keep_rows(calibration: int, only_scoring: int | None = None) -> None:
    """Refuse (DataError `data.few-rows`) too few calibration rows for --keep.

    Where there are rows that are `only_scoring`, it is these that count.
    """
    found, least, what = calibration, KEEP_ROWS, "calibration rows"
    if only_scoring is not None:
        found, least, what = only_scoring, _SCORED, "rows of --score-on"
    if found < least:
        raise DataError(
            Code.DATA_FEW_ROWS,
            f"--keep needs at least {least} {what} to tell a share of quality, found {found}: give "
            "more, or --budget in its place",
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


def asked(example: Example) -> Hashable:
    """A row without its answer, by which it is told from others; all of one that asks nothing."""
    messages = [dict(message) for message in (example.messages or ())[:-1]]
    written = None if example.text else example.completion
    return example.text, example.text_pair, str(example.picture), repr(messages), written


def check_scoring(calibration: Sequence[Example], scoring: Sequence[Example]) -> None:
    """Refuse rows that only score: DataError `data.pairs`, InputError `input.options`.

    Some may well be calibration rows too, since short texts come twice; all of them are none.
    """
    check_pairs({"the calibration set": calibration, "the set to score on": scoring})
    tuning = {asked(example) for example in calibration}
    if all(asked(example) in tuning for example in scoring):
        raise InputError(
            Code.INPUT_OPTIONS,
            "every row of --score-on is a calibration row too: give rows that the fine-tuned model "
            "was not trained on, such as a test set",
        )
