"""The part of a comparison that one call does; what it leaves, a later call does."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from osd_edge.data.arguments import as_number
from osd_edge.errors import Code, InputError, shown
from osd_edge.exporters.methods.budget import parse_budget
from osd_edge.exporters.option_fields import several_texts

Setting = tuple[str, str | None]  # a method, and a budget or None


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
