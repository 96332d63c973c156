"""A bundle of a head over the base as it is: what a task needs where it needs no delta."""

from dataclasses import replace

from osd_edge.data.progress import Progress
from osd_edge.errors import Code, InputError
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.base import Method
from osd_edge.exporters.methods.floor import Floor
from osd_edge.exporters.methods.integer_bundle import (
    Scored,
    calibration_needed,
    integer_bundle,
    integer_result,
    with_score,
)
from osd_edge.exporters.methods.made import Made
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.source import Source


class HeadOnly(Method):
    """The head that is the floor under every delta, alone in a bundle."""

    def check(self, options: TaskOptions) -> None:
        """Refuse (DataError `data.calibration-needed`) an export without calibration rows."""
        if options.calibration is None:
            raise calibration_needed("a head-only bundle", "leave out --method head")

    def make(self, source: Source, task: str, options: TaskOptions, progress: Progress) -> Made:
        """Fit the head on the rows that tune, and score it on the others.

        Raises DataError `data.calibration-needed`, InputError `input.options` for a kind of task
        that has no head.
        """
        kind = KINDS[source.models.head.kind].format
        if kind.writes:
            raise InputError(
                Code.INPUT_OPTIONS,
                "a task that generates text has no head, and without a delta it is the base's own",
            )
        if kind.vector:
            raise InputError(
                Code.INPUT_OPTIONS,
                "an embedding without a delta is the base's own: no bundle needed",
            )
        floor = source.shared(Floor, options.seed)
        head = floor.head(quick=False)
        if head is None:
            raise calibration_needed("a head-only bundle")
        score = floor.score(quick=False)
        bundle = replace(integer_bundle(source, task, {"name": options.method}), head=head)
        bundle = with_score(bundle, floor.calibrated, score)
        return integer_result(Scored(bundle, score), options, floor, quick=False)
