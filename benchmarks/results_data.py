"""The results of `make results`, and their means over tasks and calibration draws."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean

from benchmarks.device_check import DeviceCheck
from osd_edge.cli.output import percent
from osd_edge.exporters.compare.comparison import Outcome, Point, Setting

GAIN_TASKS = ("trec", "mr", "goemotions")  # where fine-tuning gains over the frozen probe


@dataclass(frozen=True)
class DrawSpread:
    """Results of one setting over the calibration draws: mean bytes, and accuracies or shares."""

    size: float
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """In percent, with the distance from the lowest to the highest where there are several."""
        text = percent(self.mean)
        if self.low == self.high:
            return text
        return f"{text} ({percent(self.low)}–{percent(self.high)})"


def spread_of(points: Iterable[tuple[int | None, float | None]]) -> DrawSpread | None:
    """The spread of (bytes, value) over draws, without those that have no value."""
    known = [(size or 0, value) for size, value in points if value is not None]
    if not known:
        return None
    values = [value for _, value in known]
    return DrawSpread(mean(size for size, _ in known), mean(values), min(values), max(values))


@dataclass(frozen=True)
class Results:
    """Outcomes by task, one for each calibration draw.

    `ours` are the names of our methods, `refined` those of peers that got our refinement.
    """

    outcomes: Mapping[str, Sequence[Outcome]]
    ours: tuple[str, ...]
    refined: tuple[str, ...]
    device: Mapping[str, DeviceCheck]
    left_out: tuple[str, ...]

    @cached_property
    def gain_tasks(self) -> tuple[str, ...]:
        """The tasks whose shares of the gain are averaged."""
        return tuple(task for task in GAIN_TASKS if task in self.outcomes)

    @cached_property
    def keys(self) -> tuple[Setting, ...]:
        """All settings, in order."""
        points = (p for draws in self.outcomes.values() for o in draws for p in o.points)
        return tuple(dict.fromkeys((p.method, p.budget) for p in points))

    def of_task(self, task: str, key: Setting) -> DrawSpread | None:
        """Accuracies of one task over the draws."""
        return spread_of((point.size, point.accuracy) for _, point in self._points(task, key))

    def gain_of_task(self, task: str, key: Setting) -> DrawSpread | None:
        """Shares of the gain of one task over the draws."""
        return spread_of(
            (point.size, outcome.gain(point.accuracy)) for outcome, point in self._points(task, key)
        )

    def mean_gain(self, key: Setting) -> DrawSpread | None:
        """Mean over `gain_tasks` of each task's mean share, its lowest and its highest.

        None where a task has no result. So all draws count, and the bounds are wider than those
        of the means of single draws.
        """
        found = [self.gain_of_task(task, key) for task in self.gain_tasks]
        known = [spread for spread in found if spread is not None]
        if not known or len(known) < len(found):
            return None
        return DrawSpread(
            mean(spread.size for spread in known),
            mean(spread.mean for spread in known),
            mean(spread.low for spread in known),
            mean(spread.high for spread in known),
        )

    def _points(self, task: str, key: Setting) -> Iterable[tuple[Outcome, Point]]:
        for outcome in self.outcomes[task]:
            for point in outcome.points:
                if (point.method, point.budget) == key:
                    yield outcome, point
