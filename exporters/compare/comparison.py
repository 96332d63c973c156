"""One task by many methods at many budgets: accuracy against the real bytes of files.

Every file is written, and the weights that are scored are restored from its bytes. Methods see
the two models and the calibration rows; test rows are used for the accuracies alone.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from osd_edge.data.arguments import as_number, as_path, expect, expect_callable
from osd_edge.data.examples import Example, check_pairs, with_known_labels
from osd_edge.data.files import real_path
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, DataError, InputError, ModelError
from osd_edge.exporters.compare.job import WHOLE, ComparisonPart, MethodComparison, Setting
from osd_edge.exporters.compare.kept_results import example_key
from osd_edge.exporters.compare.outcome import Outcome, Point
from osd_edge.exporters.compare.peers.find import find_peer, why_unsuited
from osd_edge.exporters.compare.work import Work
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.budget import budget_text
from osd_edge.exporters.methods.options import check_seed
from osd_edge.exporters.methods.registry import check_compared
from osd_edge.exporters.models.fine_tuned import FineTuned, check_fine_tuned, open_fine_tuned
from osd_edge.exporters.models.no_delta import check_differs
from osd_edge.exporters.option_fields import several
from osd_edge.exporters.scoring.completions import CALIBRATION, check_rows
from osd_edge.exporters.scoring.fine_tuned_accuracy import fp32_bytes
from osd_edge.formats.limits import task_name

__all__ = ["ComparisonPart", "MethodComparison", "Outcome", "Point", "Setting", "compare", "grid"]


def grid(methods: Sequence[str], budgets: Sequence[str | int]) -> tuple[Setting, ...]:
    """Every method at every budget, and those that have one size once.

    Raises InputError `input.method`, BudgetError `budget.malformed`.
    """
    texts = [budget_text(budget) for budget in several("budgets", budgets)]
    methods = several("methods", methods)
    check_compared(methods)
    return tuple(
        (name, budget)
        for name in dict.fromkeys(methods)
        for budget in (dict.fromkeys(texts) if find_peer(name).sized else (None,))
    )


def compare(
    job: MethodComparison,
    out: str | Path,
    progress: Progress = silent,
    part: ComparisonPart = WHOLE,
) -> Outcome:
    """Compare, with files in `out`/files and each result kept in `out`/cells.

    Results that are there already are not computed again. Of the others those of `part` are; the
    outcome says which are left, and another call goes on with them. Raises InputError,
    BudgetError, ModelError, DataError and OutputError; a budget that a method cannot meet is a
    point without a size.
    """
    out, settings = as_path(out, "out"), expect(job, MethodComparison, "job").texts
    expect_callable(progress, "progress")
    deadline = expect(part, ComparisonPart, "part").deadline()
    real_path(out)  # which refuses what no folder can be named
    check_compared([method for method, _ in settings])
    task_name(job.task)
    check_seed(job.seed)
    options = job.options()
    if job.probe is not None and job.probe_train:
        raise InputError(
            Code.INPUT_OPTIONS, "give a probe's accuracy or rows to train one on, not both"
        )
    if job.probe is not None and not 0 <= as_number(job.probe, "a probe's accuracy") <= 1:
        raise InputError(Code.INPUT_NUMBER, f"a probe's accuracy is 0 to 1, found {job.probe:g}")
    check_pairs(
        {
            "calibration set": job.calibration,
            "test set": job.test,
            "probe's training set": job.probe_train,
        }
    )
    models = open_fine_tuned(
        job.base, job.tuned, progress, adapters=options.adapters, labels=options.labels
    )
    job = _checked(job, models)
    check_fine_tuned(models)
    check_differs(models)
    if job.suited_only:
        settings = tuple(one for one in settings if why_unsuited(one[0], models) is None)
    for method, _ in settings:
        why = why_unsuited(method, models)
        if why is not None:
            raise InputError(Code.INPUT_METHOD, f"{method} makes no sense here: {why}")
    order = part.ordered(settings)
    work = Work(job, models, out, progress)
    references = work.references()
    done = {s: point for s in settings if (point := work.kept(*s)) is not None}
    for setting in progress(order, "Methods and budgets"):
        # The bar runs to its end, past what is there and what there is no time for.
        if setting not in done and time.monotonic() < deadline:
            done[setting] = work.point(*setting)
    tested = {_asked(e) for e in job.test}
    return Outcome(
        task=job.task,
        seed=job.seed,
        labels=len(models.labels),
        test_examples=len(job.test),
        calibration_examples=len(job.calibration),
        shared_rows=sum(_asked(e) in tested for e in job.calibration),
        fp32_bytes=fp32_bytes(models.tuned),
        **references,
        points=tuple(done[setting] for setting in settings if setting in done),
        kind=models.head.kind,
        left=tuple(setting for setting in settings if setting not in done),
    )


def _checked(job: MethodComparison, models: FineTuned) -> MethodComparison:
    """The job with labels by the model's names.

    Refuses rows without the right answers that the kind of task has, and other kinds.
    """
    kind = KINDS[models.head.kind]
    if kind.format.writes:
        if job.probe is not None or job.probe_train:
            raise InputError(
                Code.INPUT_OPTIONS,
                "a frozen probe is the floor of classifiers; that of a task that generates text is "
                "the base alone",
            )
        for name, examples in {CALIBRATION: job.calibration, "test set": job.test}.items():
            for number, example in enumerate(examples, 1):
                if not _is_completed(example):
                    raise DataError(
                        Code.DATA_COMPLETION,
                        f"row {number} of the {name} has no completion: expected "
                        '{"prompt", "completion"}, or {"messages"} that end with the answer',
                    )
            check_rows(models, examples, name)
        return job
    if not kind.labelled:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{models.tuned.folder}: classifiers of one label and tasks that generate text are "
            f"compared, not {kind.name}",
        )

    if models.tuned.own_head is not None:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{models.tuned.folder} has a head of its own, as SetFit's, which the methods compared "
            "have no place for: export task makes a bundle of it, and evaluate scores that",
        )

    def named(what: str, examples: Sequence[Example]) -> tuple[Example, ...]:
        return with_known_labels(Path(what), examples, models.labels)

    calibration = job.calibration
    if all(example.label is not None for example in calibration):
        calibration = named("calibration set", calibration)
    return replace(
        job,
        calibration=calibration,
        test=named("test set", job.test),
        probe_train=named("probe's training set", job.probe_train),
    )


def _is_completed(example: Example) -> bool:
    if example.messages is not None:
        return example.messages[-1]["role"] == "assistant"
    return example.completion is not None


def _asked(example: Example) -> str:
    """The text, pair or conversation of an example, by which it is told from others."""
    _, *asked, _, messages = example_key(example)
    return repr((asked, messages))
