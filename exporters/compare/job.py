"""The comparison that is asked for: models, rows, methods and budgets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osd_edge.data.arguments import as_model
from osd_edge.data.examples import Example
from osd_edge.exporters.compare.part import Setting
from osd_edge.exporters.methods.budget import budget_text
from osd_edge.exporters.methods.options import TaskOptions


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
