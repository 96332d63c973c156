"""`export task`: a fine-tuned model becomes a task bundle over its base.

`osd-rd` and `head` are in `rd/`, the paper's methods in `paper_task.py`.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from osd_edge.data.examples import Example
from osd_edge.data.files import is_special, kind_at, write_file
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, ModelError, OsdEdgeError, OutputError
from osd_edge.exporters.base_package import choose_sites
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.factorize import changed_layers
from osd_edge.exporters.methods.options import Options, check_base_weights, check_options
from osd_edge.exporters.methods.osd_rd.coded_task import CodedTask, calibration_needed
from osd_edge.exporters.methods.osd_rd.work_folder import WorkFolder
from osd_edge.exporters.methods.paper import selection as methods
from osd_edge.exporters.methods.paper.paper_task import PaperTask, labels_needed
from osd_edge.exporters.methods.report import TaskReport
from osd_edge.exporters.methods.stored.head import HeadOptions
from osd_edge.exporters.models.adapted_checkpoint import AdaptedCheckpoint
from osd_edge.exporters.models.backbone import LinearLayer
from osd_edge.exporters.models.compatibility import check_differs
from osd_edge.exporters.models.fine_tuned import FineTuned, open_fine_tuned
from osd_edge.exporters.models.large import is_large
from osd_edge.exporters.scoring.calibrated_task import examples_in, read_calibration
from osd_edge.exporters.scoring.held_back import check_keep_rows
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.formats.bundle.writer import write_bundle


class TaskExporter:
    """Bundles of one fine-tuned model: what several exports share is computed once."""

    def __init__(
        self,
        base: str | Path,
        tuned: str | Path | None,
        *,
        calibration: Path | Sequence[Example] | None = None,
        sites: Sequence[str] = ("*",),
        base_weights: str = "fp32",
        kind: str | None = None,
        adapters: Sequence[tuple[str | Path, float]] = (),
        labels: Sequence[str] | None = None,
        work: Path | None = None,
        executor: Executor | None = None,
        progress: Progress = silent,
    ) -> None:
        """Open both models and the calibration set. Raises ModelError, DataError, InputError.

        `sites` are globs over the linear layers that may carry a delta. `base_weights` are those
        of the package that osd-rd tunes for; its bundles fit every package of the base. `kind`,
        `adapters` and `labels` are as for `open_fine_tuned`. What osd-rd has finished of a large
        model is kept in the folder `work`, where there is one; `executor` (threads or
        processes) may decompose several layers at once, to the same bytes.
        """
        check_base_weights(base_weights)
        self._base_weights = base_weights
        # What has no delta is taken here, for a bundle of its head; `export` refuses it the others.
        self._models = open_fine_tuned(
            base,
            tuned,
            progress,
            kind=kind,
            adapters=adapters,
            labels=labels,
            head_only=True,
        )
        examples = None
        if calibration is not None:
            # Only a classifier of one label has labels that a row of a file could hold.
            labelled = KINDS[self._models.head.kind].labelled
            examples = read_calibration(calibration, self._models.labels if labelled else ())
        self._sites = tuple(sites)
        chosen = choose_sites(self._models.backbone, sites)
        pooler = self._models.backbone.family.pooler
        if pooler is not None and self._models.head.pooling != "pooler":
            chosen -= {pooler.path}  # nothing reads it
        self._layers = changed_layers(self._models.backbone, self._models.tuned, chosen)
        self._examples = examples or ()
        self._large = is_large(self._models.backbone)
        self._work = WorkFolder(work) if work is not None and self._large else None
        self._executor = executor
        self._coded_tasks: dict[int, CodedTask] = {}
        self._progress = progress

    @property
    def pair(self) -> FineTuned:
        """Both models."""
        return self._models

    @property
    def layers(self) -> tuple[LinearLayer, ...]:
        """The sites that may carry a delta, in the base's order."""
        return self._layers

    @cached_property
    def model(self) -> TaskModel | None:
        """The task's torch model, whose weights are set as needed; None without calibration."""
        if not self._examples:
            return None
        models = self._models
        return TaskModel(
            models.backbone, models.tuned, models.head, self._base_weights, streamed=self._large
        )

    @cached_property
    def paper_task(self) -> PaperTask:
        """What exports by the paper's methods share."""
        return PaperTask(self._models, self._layers, self._examples, self.model, self._progress)

    def export(
        self,
        out: Path,
        *,
        method: str = methods.OSD_RD,
        budget: str | Budget | None = None,
        keep: float | None = None,
        refine: str | None = None,
        values: str | None = None,
        name: str | None = None,
        head: HeadOptions | None = None,
        extra_rank: int | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> TaskReport:
        """Write one bundle to the file `out`, whose name names the task unless `name` does.

        For osd-rd: `budget` (16KiB unless given) or `keep`, the share of the gain over a frozen
        head that the smallest file must keep; `refine` is `none`, `scales` (unless given) or
        `codes`; `seed` draws the rows held back. For the paper's methods: `budget` (r=1 unless
        given), `values` (fp32 unless given), `head`, and `extra_rank`, which fixes c in
        k = r + c, otherwise chosen by calibration loss. Raises BudgetError, DataError,
        InputError, OutputError; ModelError `model.same` where there is no delta, but for `head`.
        """
        options = check_options(
            out,
            method=method,
            budget=budget,
            keep=keep,
            refine=refine,
            values=values,
            name=name,
            head=head,
            extra_rank=extra_rank,
            base_weights=self._base_weights,
            seed=seed,
            sites=self._sites,
        )
        if method != methods.HEAD and not self._layers:
            check_differs(self._models.backbone, self._models.tuned)
            raise ModelError(Code.MODEL_SAME, "the chosen layers are the base's own: no delta")
        if method in methods.PAPER_METHODS:
            report = self.paper_task.export(out, options, head, extra_rank, progress)
            return replace(report, adapter_size=self._adapter_size)
        return self._coded(out, options, seed, progress)

    def coded_task(self, seed: int, progress: Progress = silent) -> CodedTask:
        """What exports of osd-rd with one `seed` share."""
        if seed not in self._coded_tasks:
            self._coded_tasks[seed] = CodedTask(
                self._models,
                self._layers,
                self._examples,
                self.model,
                seed,
                progress,
                work=self._work,
                executor=self._executor,
            )
        return self._coded_tasks[seed]

    def _coded(self, out: Path, options: Options, seed: int, progress: Progress) -> TaskReport:
        """osd-rd, or a head alone."""
        coded = self.coded_task(seed, progress)
        refine = None
        if options.method == methods.HEAD:
            made = coded.head_only(options.task)
        else:
            refine = options.refine or ("scales" if self._examples else "none")
            if options.keep is not None:
                made = coded.keeping(options.task, options.keep, refine, progress)
            else:
                made = coded.within(options.task, options.budget, refine, progress)
        data = write_bundle(made.bundle)
        head_size = len(write_bundle(replace(made.bundle, sites=())))
        # A floor to compare with; a head that is shipped, or decides a size, takes all rows.
        quick = options.method != methods.HEAD and options.keep is None
        measured, gain = coded.measured, coded.gain(quick=quick)
        useful = gain is not None and gain.ceiling > gain.floor
        report = TaskReport(
            path=str(out),
            task=options.task,
            method=options.method,
            budget=str(options.budget) if options.budget_given else "",
            values=made.bundle.values,
            extra_rank=None,
            size=len(data),
            head_size=head_size,
            delta_size=len(data) - head_size,
            paper_bits=None,
            paper_bits_allowed=None,
            sites=len(made.bundle.sites),
            calibration_examples=len(self._examples),
            labelled=bool(measured and measured.calibration.labelled),
            fine_tuned=measured.fine_tuned if measured else None,
            linear_only=measured.linear_only if measured else None,
            compressed=made.score,
            refine=refine,
            keep=options.keep,
            held_back=measured.calibration.examples if measured else 0,
            frozen_head=coded.frozen_score(quick=quick),
            share=gain.share(made.score.accuracy) if useful and gain and made.score else None,
            share_error=gain.error(made.score.accuracy) if useful and gain and made.score else None,
            curve=made.curve,
            base_weights=self._base_weights,
            adapter_size=self._adapter_size,
        )
        write_file(out, data)
        return report

    def release_work(self, *, remove: bool) -> None:
        """Let others have the work folder, if there is one; `remove` it first."""
        if self._work is not None:
            self._work.remove() if remove else self._work.release()

    @property
    def _adapter_size(self) -> int | None:
        tuned = self._models.tuned
        return tuned.adapter_bytes if isinstance(tuned, AdaptedCheckpoint) else None


def export_task(
    base: str | Path,
    tuned: str | Path | None,
    out: Path,
    *,
    method: str = methods.OSD_RD,
    budget: str | Budget | None = None,
    keep: float | None = None,
    refine: str | None = None,
    values: str | None = None,
    calibration: Path | Sequence[Example] | None = None,
    sites: Sequence[str] = ("*",),
    name: str | None = None,
    head: HeadOptions | None = None,
    extra_rank: int | None = None,
    base_weights: str = "fp32",
    seed: int = 0,
    kind: str | None = None,
    adapters: Sequence[tuple[str | Path, float]] = (),
    labels: Sequence[str] | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> TaskReport:
    """Write the bundle of the task model `tuned`, fine-tuned from `base`, to the file `out`.

    `adapters` are PEFT adapters in its place, each a folder with its weight. `kind` and `labels`
    are as for `open_fine_tuned`. `calibration` is a file of texts, a folder of pictures, or the
    examples; `osd` needs labelled ones, osd-rd any. `base_weights` is for what package osd-rd
    tunes it, as `TaskExporter` takes it, and `executor`. The other options are those of
    `TaskExporter.export`.
    Raises an OsdEdgeError that says what is wrong, and then writes no file.

    Of a large model, finished layers are kept in a folder beside `out` until that is written: an
    export that was broken off, or found the disk full, takes up from there. A refusal of what was
    asked for leaves no such folder.
    """
    # What needs no model is checked before minutes of work.
    check_options(
        out,
        method=method,
        budget=budget,
        keep=keep,
        refine=refine,
        values=values,
        name=name,
        head=head,
        extra_rank=extra_rank,
        base_weights=base_weights,
        seed=seed,
        sites=sites,
    )
    if isinstance(calibration, Path):
        examples = examples_in(calibration)
        if out.exists() and out.samefile(calibration):
            raise OutputError(
                Code.OUTPUT_EXISTS, f"{out} is the calibration set: name another file"
            )
        if keep is not None:
            check_keep_rows(len(examples))
    _check_replaces_no_model(out, [base, tuned, *(folder for folder, _ in adapters)])
    if calibration is None:
        if method == "osd":
            raise labels_needed()
        if method == methods.HEAD:
            raise calibration_needed("a head-only bundle", "leave out --method head")
        if base_weights != "fp32":
            raise calibration_needed("--base-weights", "leave it out")
        if keep is not None or (refine or "none") != "none":
            raise calibration_needed("--keep" if keep is not None else f"--refine {refine}")
    work = None if is_special(out) else out.with_name(f".{out.name}.work")
    resumed = work is not None and kind_at(work) is not None
    exporter = TaskExporter(
        base,
        tuned,
        calibration=calibration,
        sites=sites,
        base_weights=base_weights,
        kind=kind,
        adapters=adapters,
        labels=labels,
        work=work,
        executor=executor,
        progress=progress,
    )
    finished = False  # or of no use any more
    try:
        report = exporter.export(
            out,
            method=method,
            budget=budget,
            keep=keep,
            refine=refine,
            values=values,
            name=name,
            head=head,
            extra_rank=extra_rank,
            seed=seed,
            progress=progress,
        )
        finished = True
    except OutputError:
        raise  # the place is at fault, a full disk: what is finished will be of use
    except OsdEdgeError:
        finished = not resumed  # an earlier export's work is not this mistake's to delete
        raise
    finally:
        exporter.release_work(remove=finished)
    return report


def _check_replaces_no_model(out: Path, models: Sequence[str | Path | None]) -> None:
    """Refuse (`output.same`) to replace a file of a model that is read, but for a bundle in it."""
    folders = [Path(model).resolve() for model in models if model is not None]
    if kind_at(out) == "file" and not out.name.endswith(".osd.safetensors"):
        for folder in folders:
            if folder in out.resolve().parents:
                raise OutputError(
                    Code.OUTPUT_SAME,
                    f"{out} is a file of the model {folder}, which is read: name another file",
                )
