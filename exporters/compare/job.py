"""The comparison that is asked for, and the part of it that one call does."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from osd_edge.data.arguments import as_model, as_number
from osd_edge.data.examples import Example
from osd_edge.errors import Code, InputError, shown
from osd_edge.exporters.methods.budget import budget_text, parse_budget
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.option_fields import several_texts

Setting = tuple[str, str | None]  # a method, and a budget or None


@dataclass(frozen=True)
class MethodComparison:
    """A comparison of methods to be made.

    A classifier's `test` is labelled, and its `calibration` may lack labels. Of a task that
    generates text both hold completions.

    A setting is a method's name and a budget, None for a method that has one size; see `grid`.
    Budgets may be given in bytes, as whole numbers, and are kept as text. Where `suited_only`,
    settings of methods that make no sense for the task are left out, and not refused.
    In the place of `tuned`, None then, `adapters` are PEFT folders with their weights; `labels`
    name their head's outputs.
    The frozen probe's accuracy is `probe` where given, else it is trained on `probe_train`, or
    on the calibration set.
    """

    base: str | Path
    tuned: str | Path | None
    calibration: tuple[Example, ...]
    test: tuple[Example, ...]
    settings: Sequence[tuple[str, str | int | None]] = ()
    task: str = "task"
    seed: int = 0
    probe: float | None = None
    probe_train: tuple[Example, ...] = ()
    adapters: Sequence[tuple[str | Path, float]] = ()
    labels: Sequence[str] | None = None
    suited_only: bool = False

    def __post_init__(self) -> None:
        """Check paths and budgets, and keep each budget as text."""
        as_model(self.base, "base")
        if self.tuned is not None:
            as_model(self.tuned, "tuned")
        object.__setattr__(self, "settings", self.texts)

    @property
    def texts(self) -> tuple[Setting, ...]:
        """The settings, with each budget as text."""
        return tuple(
            (method, None if budget is None else budget_text(budget))
            for method, budget in self.settings
        )

    def options(self) -> TaskOptions:
        """The options with which methods open the task; raises InputError as they do."""
        return TaskOptions(
            base=self.base,
            tuned=self.tuned,
            adapters=self.adapters,
            labels=self.labels,
            calibration=self.calibration,
            name=self.task,
            seed=self.seed,
        )


@dataclass(frozen=True)
class ComparisonPart:
    """The settings that a call is to compute, and the time after which it begins none.

    Args:
        only: names of methods, or `METHOD@BUDGET`, in the order in which they are wanted; all
            settings where there are none.
        minutes: after so many no further setting is begun; the one in progress is finished.

    Raises:
        InputError: `input.number` for minutes that are negative or no number, `input.options` for
            names that are no texts.
    """

    only: Sequence[str] = ()
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Check both."""
        object.__setattr__(self, "only", several_texts("only", self.only))
        if self.minutes is not None and not as_number(self.minutes, "minutes") >= 0:
            raise InputError(
                Code.INPUT_NUMBER, f"minutes: expected 0 or more, found {self.minutes:g}"
            )

    def ordered(self, settings: Iterable[Setting]) -> list[Setting]:
        """The chosen ones of `settings`, in the order in which they are computed.

        As they are named, and those of a name the largest first: factors and scores that it needs
        serve the others too. Raises InputError `input.method` for a name of none of them.
        """
        settings = list(settings)
        if not self.only:
            return sorted(settings, key=_largest_first)
        chosen: dict[Setting, None] = {}
        for name in self.only:
            found = [setting for setting in settings if _is_named(setting, name)]
            if not found:
                listed = ", ".join(dict.fromkeys(setting_name(one) for one in settings))
                raise InputError(
                    Code.INPUT_METHOD,
                    f"expected a method, or METHOD@BUDGET, among {listed}; found "
                    f"{shown(name, 40)!r}",
                )
            chosen |= dict.fromkeys(sorted(found, key=_largest_first))
        return list(chosen)

    def deadline(self) -> float:
        """The time of `time.monotonic` after which nothing is begun, if the part begins now."""
        return float("inf") if self.minutes is None else time.monotonic() + 60 * self.minutes


WHOLE = ComparisonPart()


def setting_name(setting: Setting) -> str:
    """A setting as it is named: `METHOD@BUDGET`, or the method where it has one size."""
    method, budget = setting
    return method if budget is None else f"{method}@{budget}"


def _is_named(setting: Setting, name: str) -> bool:
    method, _, budget = name.partition("@")
    if setting[0] != method:
        return False
    if not budget:
        return True
    return setting[1] is not None and parse_budget(setting[1]) == parse_budget(budget)


def _largest_first(setting: Setting) -> float:
    if setting[1] is None:
        return 0
    budget = parse_budget(setting[1])
    return -(budget.rank or budget.size or 0)
