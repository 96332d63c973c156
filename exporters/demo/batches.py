"""The batches of a training: which examples each step has."""

import random
from collections.abc import Sequence

_POOL = 16  # batches whose examples are sorted by length together


def batches(lengths: Sequence[int], epochs: int, size: int, seed: int) -> list[list[int]]:
    """Returns every epoch's batches of example numbers, each of examples of similar length."""
    rng = random.Random(seed)
    made = []
    for _ in range(epochs):
        order = rng.sample(range(len(lengths)), len(lengths))
        epoch = []
        for start in range(0, len(order), size * _POOL):
            pool = sorted(order[start : start + size * _POOL], key=lambda index: lengths[index])
            epoch += [pool[first : first + size] for first in range(0, len(pool), size)]
        rng.shuffle(epoch)
        made += epoch
    return made
