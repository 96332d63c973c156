"""From samples to figures: percentiles, a trimmed mean, and ratios taken round by round."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_TRIM = 0.1  # share left out of the mean at either end: other programs' doing, mostly


@dataclass(frozen=True)
class Latency:
    """How long `runs` runs took, in ms; the mean leaves out the fastest and slowest tenth."""

    runs: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    trimmed_mean_ms: float


@dataclass(frozen=True)
class Ratio:
    """Ratios of the rounds: their median, and the range that holds the middle 80 % of them."""

    median: float
    p10: float
    p90: float


def latency_of(samples_ms: Sequence[float]) -> Latency:
    """Figures of one or more samples in ms."""
    p50, p90, p95, p99 = (percentile(samples_ms, share) for share in (0.5, 0.9, 0.95, 0.99))
    return Latency(len(samples_ms), p50, p90, p95, p99, trimmed_mean(samples_ms))


def ratio_of(samples: Sequence[float], reference: Sequence[float]) -> Ratio:
    """`samples` over `reference`, where entry i of both was taken in round i."""
    ratios = [sample / other for sample, other in zip(samples, reference, strict=True)]
    return Ratio(percentile(ratios, 0.5), percentile(ratios, 0.1), percentile(ratios, 0.9))


def percentile(samples: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the samples do not exceed, interpolated linearly."""
    ordered = sorted(samples)
    at = share * (len(ordered) - 1)
    low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
    return low + (high - low) * (at - math.floor(at))


def trimmed_mean(samples: Sequence[float]) -> float:
    """The mean without the lowest and the highest tenth of the samples."""
    ordered = sorted(samples)
    cut = int(len(ordered) * _TRIM)
    kept = ordered[cut : len(ordered) - cut]
    return math.fsum(kept) / len(kept)


def time_ms(work: Callable[[], object]) -> float:
    """Wall time of one call, in ms."""
    start = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start) / 1e6
