"""The source of a compression: two models and calibration rows, never a test row."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, DataError, InputError
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.factorize import (
    Factors,
    changed_layers,
    factorize_sites,
    site_delta,
)
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.work_folder import WorkFolder
from osd_edge.exporters.models.fine_tuned import check_fine_tuned, open_fine_tuned
from osd_edge.exporters.models.head_plan import head_values
from osd_edge.exporters.models.large import is_large
from osd_edge.exporters.models.left_out import WeightChange, beside_delta, left_out
from osd_edge.exporters.models.sites import choose_sites
from osd_edge.exporters.models.vectors import base_vectors
from osd_edge.exporters.scoring.calibrated_task import read_calibration
from osd_edge.exporters.scoring.completions import CALIBRATION, check_rows
from osd_edge.exporters.scoring.held_back import asked, check_scoring
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.written_completions import with_completions
from osd_edge.formats.bundle.model import Bundle, StoredHead, StoredSite

T = TypeVar("T")

_SCORING = "set to score on"  # in messages
MAX_RANK = 64  # columns of a site in `factors`


class Source:
    """A base, a model fine-tuned from it and its calibration rows; what several exports share.

    `options` are those it was opened with. Of the rows, `examples` are the calibration set and
    `scoring` those that only score. `layers` are the sites that may carry a delta, in the base's
    order. What is finished of a large model, or of a task that writes, may be kept in the folder
    `work`, where there is one; `executor` (threads or processes) may do several layers at once, to
    the same bytes.
    """

    def __init__(
        self,
        options: TaskOptions,
        *,
        work: Path | None = None,
        executor: Executor | None = None,
        progress: Progress = silent,
    ) -> None:
        """Open both models, the calibration set and the work folder of a large model.

        Raises ModelError, DataError, InputError, OutputError.
        """
        self.options, self.executor, self.progress = options, executor, progress
        self.models = open_fine_tuned(
            options.base,
            options.tuned,
            progress,
            kind=options.kind,
            adapters=options.adapters,
            labels=options.labels,
        )
        backbone, head = self.models.backbone, self.models.head
        if not options.any_base:
            check_fine_tuned(self.models, ", or insist (export task --any-base)")
        self.large = is_large(backbone)
        self.examples: tuple[Example, ...] = ()
        self.scoring: tuple[Example, ...] = ()
        # Only a classifier of one label has labels that a row of a file could hold.
        labels = self.models.labels if KINDS[head.kind].labelled else ()
        if options.calibration is not None:
            self.examples = read_calibration(options.calibration, labels)
        if options.score_on is not None:
            self.scoring = read_calibration(options.score_on, labels, f"the {_SCORING}")
            check_scoring(self.examples, self.scoring)
        if not self.models.writes:
            self._check_writes_nothing()
        chosen = choose_sites(backbone, options.sites)
        pooler = backbone.family.pooler
        if pooler is not None and head.pooling != "pooler":
            chosen -= {pooler.path}  # nothing reads it
        self.layers = changed_layers(backbone, self.models.tuned, chosen)
        self._shared: dict[Hashable, Any] = {}
        if self.models.writes:
            self.examples = self._with_completions(self.examples, options.calibration)
            self.scoring = self._with_completions(self.scoring, options.score_on, _SCORING)
        # A refinement of a task that writes takes a good part of an hour, whatever its size.
        keeps = self.large or (self.models.writes and bool(self.examples))
        self.work = WorkFolder(work) if work is not None and keeps else None

    @property
    def task(self) -> str:
        """The task's name where no file names it."""
        return self.options.name or "task"

    @cached_property
    def model(self) -> TaskModel | None:
        """The task's torch model; None without calibration rows, which alone need it."""
        if not self.examples:
            return None
        models = self.models
        return TaskModel(
            models.backbone,
            models.tuned,
            models.head,
            self.options.base_weights,
            streamed=self.large,
        )

    @cached_property
    def site_index(self) -> dict[str, int]:
        """The index in the base's site table of each layer that may carry a delta."""
        order = {layer.name: i for i, layer in enumerate(self.models.backbone.layers)}
        return {layer.name: order[layer.name] for layer in self.layers}

    @cached_property
    def factors(self) -> dict[str, Factors]:
        """Leading columns of each site's delta, `MAX_RANK` at most."""
        ranks = {layer.name: min(MAX_RANK, layer.n, layer.d) for layer in self.layers}
        return factorize_sites(self.models.backbone, self.models.tuned, ranks)

    @cached_property
    def vector_index(self) -> dict[str, int]:
        """The index in the base's list of each of its biases and norms' weights, by name."""
        return {vector.name: i for i, vector in enumerate(base_vectors(self.models.backbone))}

    @property
    def vectors(self) -> dict[str, torch.Tensor]:
        """The changes `[n]` of biases and norms that bundles are to have, by name."""
        return self.models.changed_vectors if self.options.vectors else {}

    @cached_property
    def left_out(self) -> dict[str, WeightChange]:
        """The size of each change that bundles have no place for."""
        models = self.models
        return left_out(models.backbone, models.tuned, models.head, carried=self.vectors)

    @cached_property
    def left_out_beside_delta(self) -> float | None:
        """The norm of all that is left out over that of all deltas; None without either."""
        if not self.left_out or not self.layers:
            return None
        return beside_delta(self.left_out, (self.delta(layer.name) for layer in self.layers))

    @cached_property
    def shared_rows(self) -> int:
        """The number of rows that only score and are calibration rows too."""
        tuning = {asked(example) for example in self.examples}
        return sum(asked(example) in tuning for example in self.scoring)

    def _with_completions(
        self, examples: tuple[Example, ...], given: Any, name: str = CALIBRATION
    ) -> tuple[Example, ...]:
        """The examples of a task that writes, each with what is to be written, as `given`.

        A line of a .txt is all to be written, unless the fine-tuned model completes it.
        """
        if not examples:
            return ()
        completed = self._completed(examples, given, name)
        check_rows(self.models, completed, name)  # before a split gives them other numbers
        return completed

    def _completed(
        self, examples: tuple[Example, ...], given: Any, name: str
    ) -> tuple[Example, ...]:
        options = self.options
        if options.complete is not None:
            assert self.model is not None, "there are examples"
            return with_completions(
                self.models, self.model, examples, options.complete, self.progress, name=name
            )
        plain = isinstance(given, Path) and given.suffix.lower() == ".txt"
        return tuple(Example("", completion=e.text) for e in examples) if plain else examples

    def _check_writes_nothing(self) -> None:
        """Refuses what is for tasks that generate text alone, where this one does not."""
        kind = self.models.head.kind
        if self.options.complete is not None:
            raise InputError(
                Code.INPUT_OPTIONS,
                f"--complete is for tasks that generate text, and this one is {kind}",
            )
        sets = {CALIBRATION: self.examples, _SCORING: self.scoring}
        for name, examples in sets.items():
            for number, example in enumerate(examples, 1):
                if example.completion is not None or example.messages is not None:
                    raise DataError(
                        Code.DATA_KIND,
                        f"row {number} of the {name} says what is to be written, and this task is "
                        f"{kind}: give a .tsv or a .txt",
                    )

    def delta(self, site: str) -> torch.Tensor:
        """ΔW `[n, d]` of one of `layers`."""
        delta = site_delta(self.models.backbone, self.models.tuned, site)
        assert delta is not None
        return delta

    def head(self) -> dict[str, torch.Tensor]:
        """The fine-tuned head's parameters."""
        return head_values(self.models.tuned, self.models.head.modules)

    def bundle(
        self,
        task: str,
        values: str,
        head: StoredHead,
        method: Mapping[str, Any],
        sites: Sequence[StoredSite] = (),
    ) -> Bundle:
        """A bundle of the task; `method` is what the file says of the method that made it."""
        return Bundle(
            task=task,
            task_version="1",
            labels=self.models.labels,
            base=self.models.fingerprint,
            site_count=len(self.models.backbone.layers),
            values=values,
            sites=tuple(sites),
            head=head,
            method=method,
            text=self.models.texts.text,
        )

    def shared(self, make: Callable[..., T], *arguments: Hashable) -> T:
        """Gives `make(source, *arguments)`, made once and kept for every later export."""
        key = (make, *arguments)
        if key not in self._shared:
            self._shared[key] = make(self, *arguments)
        kept: T = self._shared[key]
        return kept

    def close(self, *, done: bool) -> None:
        """End the exports: the work folder is removed if its work is `done` with, else let go.

        A later export computes anew what was in it.
        """
        work, self.work = self.work, None
        if work is not None:
            self._shared.clear()
            work.remove() if done else work.release()
