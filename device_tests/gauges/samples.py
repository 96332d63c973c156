"""Turns samples into figures: percentiles, a trimmed mean, and ratios taken round by round."""

import math
import time
from collections.abc import Callable, Sequence

from osd_edge.device_tests.report.schema import MOST_SAMPLES, Spread

_TRIM = 0.1  # share left out of the mean at either end: other programs' doing, mostly


def spread_of(samples: Sequence[float], *, keep: bool = False) -> Spread:
    """Sums up one or more samples; the mean leaves out the lowest and the highest tenth.

    With `keep` the first `MOST_SAMPLES` of them stand in it too.
    """
    p10, p50, p90, p95, p99 = (percentile(samples, share) for share in (0.1, 0.5, 0.9, 0.95, 0.99))
    spread: Spread = {
        "n": len(samples),
        "min": min(samples),
        "p10": p10,
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99,
        "trimmed_mean": trimmed_mean(samples),
    }
    if keep:
        spread["samples"] = list(samples[:MOST_SAMPLES])
    return spread


def ratio_of(samples: Sequence[float], reference: Sequence[float]) -> Spread:
    """Divides `samples` by `reference`, where entry i of both was taken in round i."""
    ratios = [sample / other for sample, other in zip(samples, reference, strict=True)]
    p10, p50, p90 = (percentile(ratios, share) for share in (0.1, 0.5, 0.9))
    return {"n": len(ratios), "p10": p10, "p50": p50, "p90": p90}


def percentile(samples: Sequence[float], share: float) -> float:
    """Finds the value that `share` (0 to 1) of the samples do not exceed, interpolated linearly."""
    ordered = sorted(samples)
    at = share * (len(ordered) - 1)
    low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
    return low + (high - low) * (at - math.floor(at))


def trimmed_mean(samples: Sequence[float]) -> float:
    """Averages the samples without their lowest and their highest tenth."""
    ordered = sorted(samples)
    cut = int(len(ordered) * _TRIM)
    kept = ordered[cut : len(ordered) - cut]
    return math.fsum(kept) / len(kept)


def time_ms(work: Callable[[], object]) -> float:
    """Takes the wall time of one call, in ms."""
    start = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start) / 1e6
