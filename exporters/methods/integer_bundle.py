"""Bundles of small integers: their content, their scores in the file, and the report of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from osd_edge.errors import Code, DataError
from osd_edge.exporters.methods.floor import Floor
from osd_edge.exporters.methods.gain import CurvePoint
from osd_edge.exporters.methods.made import Made
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.methods.stored.integers import Integers
from osd_edge.exporters.scoring.calibrated_task import CalibratedTask
from osd_edge.exporters.scoring.score import Score
from osd_edge.formats.bundle.model import CODED, Bundle, StoredHead

NOTHING = Integers((), ())


@dataclass(frozen=True)
class Scored:
    """A bundle and its score on held-back rows, with the curve of sizes that `keep` has tried."""

    bundle: Bundle
    score: Score | None
    curve: Sequence[CurvePoint] = ()


def integer_bundle(
    source: Source, task: str, method: Mapping[str, Any], integers: Integers = NOTHING
) -> Bundle:
    """The bundle of these integers; `method` is what the file says of the method."""
    plan = source.models.head
    described = dict(method)
    if source.model is not None and source.model.weights != "fp32":
        described["base_weights"] = source.model.weights  # what it was tuned for
    head = StoredHead(plan.kind, plan.pooling, integers.layers, plan.normalize)
    bundle = source.bundle(task, CODED, head, described, integers.sites)
    return replace(bundle, vectors=integers.vectors)


def with_score(bundle: Bundle, calibrated: CalibratedTask | None, score: Score | None) -> Bundle:
    """The bundle with its score on held-back rows in it; as it is where there is none."""
    if score is None or calibrated is None:
        return bundle
    scores = {
        "rows": calibrated.calibration.examples,
        "labelled": calibrated.calibration.labelled,
        "fine_tuned": round(calibrated.fine_tuned.accuracy, 4),
        "compressed": round(score.accuracy, 4),
    }
    return replace(bundle, scores=scores)


def integer_result(made: Scored, options: TaskOptions, floor: Floor, *, quick: bool) -> Made:
    """The result of a method; `quick` is the head it is compared with, as `Floor` has it."""
    bundle, score = made.bundle, made.score
    calibrated, gain = floor.calibrated, floor.gain(quick=quick, measure=options.keep_by)
    useful = gain is not None and gain.is_there and score is not None
    facts = {
        "refine": bundle.method.get("refine"),
        "keep": options.keep,
        "keep_by": options.keep_by,
        "held_back": calibrated.calibration.examples if calibrated else 0,
        "familiarity": floor.familiarity,
        "frozen_head": floor.score(quick=quick),
        "share": gain.share(score) if useful and gain and score else None,
        "share_error": gain.error(score) if useful and gain and score else None,
        "curve": made.curve,
    }
    return Made(bundle, calibrated, score, facts)


def calibration_needed(what: str, instead: str = "use --refine none") -> DataError:
    """The refusal of what cannot be done without a calibration set."""
    return DataError(
        Code.DATA_CALIBRATION_NEEDED,
        f"{what} needs a calibration set: give --calibration FILE (.tsv or .txt, labels are "
        f"not needed), or {instead}",
    )
