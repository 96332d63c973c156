"""The result of a compression method, and what becomes of it: the file's bytes and the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from osd_edge.exporters.methods.options import TaskOptions, check_within
from osd_edge.exporters.methods.report import TaskReport
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.scoring.calibrated_task import CalibratedTask
from osd_edge.exporters.scoring.score import Score
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.writer import write_bundle


@dataclass(frozen=True)
class Made:
    """The result of a method: a task bundle, and its score where calibration rows gave one.

    `facts` are the fields of the report that differ with the method.
    """

    bundle: Bundle
    calibrated: CalibratedTask | None = None
    score: Score | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def finished(made: Made, source: Source, options: TaskOptions) -> tuple[bytes, TaskReport]:
    """Gives the bundle's bytes, and the report of them without the path of a file.

    Raises BudgetError `budget.too-small` where they are more than the budget.
    """
    data = write_bundle(made.bundle)
    check_within(len(data), options)
    head_size = len(write_bundle(replace(made.bundle, sites=(), vectors=())))
    plain = write_bundle(replace(made.bundle, vectors=())) if made.bundle.vectors else data
    calibrated = made.calibrated
    # Over the unchanged base all is left out, and told as the method.
    left_out = source.left_out if options.entry.delta else {}
    bounded = options.entry.budget is not None and options.keep is None
    usual: dict[str, Any] = {
        "extra_rank": None,
        "paper_bits": None,
        "paper_bits_allowed": None,
        "calibration_examples": len(source.examples),
    }
    report = TaskReport(
        path="",
        task=made.bundle.task,
        method=options.method,
        budget=str(options.limit) if bounded else "",
        values=made.bundle.values,
        size=len(data),
        head_size=head_size,
        delta_size=len(data) - head_size,
        sites=len(made.bundle.sites),
        vectors=len(made.bundle.vectors) if options.vectors else None,
        vectors_size=len(data) - len(plain),
        labelled=bool(calibrated and calibrated.calibration.labelled),
        fine_tuned=calibrated.fine_tuned if calibrated else None,
        linear_only=calibrated.linear_only if calibrated else None,
        with_vectors=calibrated.with_vectors if calibrated else None,
        compressed=made.score,
        base_weights=options.base_weights,
        kind=made.bundle.head.kind,
        left_out={name: change.relative for name, change in left_out.items()},
        left_out_beside_delta=source.left_out_beside_delta if left_out else None,
        text={} if made.bundle.text is None else made.bundle.text.described(),
        longer_texts=source.models.texts.longer,
        prompts=source.models.texts.prompts,
        only_scored=bool(source.scoring),
        shared_rows=source.shared_rows,
        **usual | dict(made.facts),
    )
    return data, report
