"""The contract of a compression method: from a source and options to a bundle.

A method computes and returns; the caller encodes, reports and writes the file. What a method may
look at is its Source: two models and calibration rows, never a test row.
"""

from abc import ABC, abstractmethod

from osd_edge.data.progress import Progress
from osd_edge.exporters.methods.made import Made
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.source import Source


class Method(ABC):
    """A compression method that makes task bundles. Its line in `registry` gives its name."""

    def check(self, options: TaskOptions) -> None:  # noqa: B027  (nothing to refuse is usual)
        """Refuse options that cannot be met, before anything is loaded: DataError, InputError."""

    @abstractmethod
    def make(self, source: Source, task: str, options: TaskOptions, progress: Progress) -> Made:
        """Compress the task of `source` as `options` say; `task` is its name.

        The bundle keeps to the budget: the caller refuses a larger one.

        Raises BudgetError where the budget cannot be met, DataError where the calibration set does
        not do, ModelError where the model does not.
        """
