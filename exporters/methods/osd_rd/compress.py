"""The pipeline of osd-rd: statistics → whitened SVD → one quantiser → rescale → refine or amplify.

What does not depend on the budget is computed once and kept.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.factorize import site_delta
from osd_edge.exporters.methods.osd_rd.allocate import (
    COARSER,
    coarsest_of_matrix,
    coarsest_step,
    columns_at,
    finest_within,
    head_columns_at,
    matrix_at,
)
from osd_edge.exporters.methods.osd_rd.amplify import (
    MOST_TEXTS,
    MOST_TEXTS_STREAMED,
    MOST_TEXTS_WRITTEN,
    best_amplification,
)
from osd_edge.exporters.methods.osd_rd.finished_work import FinishedWork
from osd_edge.exporters.methods.osd_rd.mixtures import training_texts
from osd_edge.exporters.methods.osd_rd.refine import (
    CONSTANTS,
    REFINEMENTS,
    Refinement,
    Teacher,
    refine,
)
from osd_edge.exporters.methods.osd_rd.rescale import rescaled
from osd_edge.exporters.methods.osd_rd.saved_refinement import SavedRefinement
from osd_edge.exporters.methods.osd_rd.sites import columns_of, statistics_of
from osd_edge.exporters.methods.osd_rd.statistics import Statistics, collect_statistics
from osd_edge.exporters.methods.osd_rd.student import Student
from osd_edge.exporters.methods.osd_rd.vectors import (
    WeightedVector,
    coarsest_of_vectors,
    rescaled_vector,
    vector_weights,
    vectors_at,
)
from osd_edge.exporters.methods.osd_rd.whitening import Columns, whitened_svd
from osd_edge.exporters.methods.osd_rd.work_key import work_key
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.methods.stored.head import BIG
from osd_edge.exporters.methods.stored.integers import (
    Integers,
    approximate_bits,
    integer_layers,
    integer_sites,
    integer_vectors,
)
from osd_edge.exporters.methods.stored.latents import ROUNDING, Latent, Latents, shrunk
from osd_edge.exporters.methods.work_folder import WorkFolder
from osd_edge.exporters.models.head_plan import head_values
from osd_edge.exporters.scoring.bfloat16 import lowered, training_dtype
from osd_edge.exporters.scoring.calibrated_task import batches_of, evenly_spaced
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import BASE, TUNED, WithDelta

BATCH = 16  # texts of a step
_STEP_TOKENS = 360  # of a step; where its texts are shorter there are more steps, up to twice
_STATISTICS_TEXTS = 512  # more change them little
_VECTORS_TEXTS = 128  # from which the weights of biases and norms are taken, a number for each
_STREAMED_BATCH = 4  # what a large model keeps for its backward pass grows with the batch
# Of a refinement of a large model: tokens of a step, so that long texts are fewer than `BATCH`, and
# the steps over which the variance of hidden states is taken.
_STREAMED_STEP_TOKENS = 512
_STREAMED_SAMPLED = 4
_MOST_LEVELS = 4095  # integers of twelve bits lose nothing that an answer could show
_OCTAVES = 0.75  # above the step of plain rounding, in which that with feedback is searched
_SHRINKINGS = 12  # of the interval in which the last fit to the budget is searched


Fits = Callable[[Integers], bool]
LatentsChange = Callable[[Latents], Latents]


class RateDistortion:
    """osd-rd for one source; without calibration rows the task's model is not needed."""

    def __init__(self, source: Source, examples: Sequence[Example], seed: int = 0) -> None:
        """Collect statistics on `examples` and decompose the deltas of the source's layers.

        What is finished stays in the source's work folder, if it has one.
        """
        self._source, self._models, self._model = source, source.models, source.model
        self._examples = examples
        self._seed = seed
        self._modules = self._models.head.modules
        names = [layer.name for layer in source.layers]
        self._work = None if source.work is None else self._finished(source.work, names)
        work = self._work if source.large else None  # what small ones take is soon done again
        values = head_values(self._models.tuned, self._modules)
        heads = [module.path for module in self._modules]
        known = statistics_of([*names, *heads], lambda: self._collect(source.progress), work)
        self._statistics = {name: known[name] for name in names}
        self._columns = columns_of(source, self._statistics, work)
        self._head = [
            self._head_layer(values[f"{path}.weight"], known[path].load()) for path in heads
        ]
        self._biases = tuple(values.get(f"{module.path}.bias") for module in self._modules)
        self._vectors = self._weighted_vectors()

    def compress(
        self,
        fits: Fits,
        refinement: str | Refinement,
        progress: Progress = silent,
        change: LatentsChange | None = None,
        most: float = math.inf,
    ) -> Integers | None:
        """The best integers that `fits` accepts; None where nothing does.

        `refinement` is `none`, `scales` or `codes` (or its numbers); without calibration data
        it must be `none`. `change` alters what refinement starts from, for controls. `fits` is
        sure to accept no more than `most` values of sites other than zero, which saves asking it.
        """
        how = REFINEMENTS[refinement] if isinstance(refinement, str) else refinement
        latents = self.fitted(fits, progress, most)
        if latents is None:
            return None
        if how.steps:
            if change is not None:
                start = change(latents)
                # A start that is zero may grow to the bytes of the codes in whose place it is.
                replaced = {name: latents.sites[name] for name in start.sites}
                how = replace(how, bits=approximate_bits(replace(latents, sites=replaced)))
                latents = start
            return self.within(self.refined(latents, how, progress), fits)
        return self.within(self.amplified(latents, progress), fits)

    def fitted(
        self, fits: Fits, progress: Progress = silent, most: float = math.inf
    ) -> Latents | None:
        """Quantised with the smallest step that `fits`, and rescaled; None where none does."""

        def accepted(latents: Latents | None) -> bool:
            return latents is not None and fits(self.integers(latents))

        plain = finest_within(
            lambda step: self._at(step, feedback=False, most=most),
            accepted,
            self._coarsest,
            progress,
        )
        if plain is None:
            return None
        step, latents = plain
        if self._model is not None:
            # Passing errors on takes bytes: a somewhat coarser step. Where nothing near fits, the
            # file is so small that plain rounding is as good.
            found = finest_within(
                lambda step: self._at(step, most=most),
                accepted,
                step * 2**_OCTAVES,
                progress,
                octaves=_OCTAVES,
                halvings=7,
            )
            latents = latents if found is None else found[1]
        assert latents is not None, "nothing was accepted"
        return self._rescaled(latents)

    def refined(
        self,
        latents: Latents,
        how: Refinement,
        progress: Progress = silent,
        *,
        quantized: bool = True,
    ) -> Latents:
        """`latents` trained to follow the fine-tuned model on the calibration texts."""
        how = self._length_of(how)
        mixed = not self._models.writes
        chosen = training_texts(self._examples, how.steps * how.texts, self._seed, mixed=mixed)
        batches = batches_of(self._models, chosen, how.texts)
        ordered = random.Random(self._seed).sample(batches, len(batches))
        with self._student(latents, quantized=quantized) as (student, module):
            teacher = Teacher(module, self._models.head)
            saved = self._saved(latents, how, quantized)
            return refine(student, teacher, ordered, how, saved=saved, progress=progress)

    def amplified(self, latents: Latents, progress: Progress = silent) -> Latents:
        """Multiplies all deltas by the best factor; without calibration data by none."""
        if self._model is None or not latents.sites:
            return latents
        kind = KINDS[self._models.head.kind]
        most = MOST_TEXTS_WRITTEN if kind.format.writes else MOST_TEXTS
        most = MOST_TEXTS_STREAMED if self._model.streamed else most
        batches = batches_of(self._models, evenly_spaced(self._examples, most))
        with self._student(latents) as (student, teacher):
            factor = best_amplification(student, teacher, batches, kind, progress)
        sites = {n: replace(x, scale=factor * x.scale) for n, x in latents.sites.items()}
        return replace(latents, sites=sites)

    def within(self, latents: Latents, fits: Fits) -> Integers | None:
        """`latents` as integers, drawn towards zero as little as it takes until it `fits`."""
        best = self.integers(shrunk(latents, 0.0))
        if fits(best):
            return best
        found = None
        low, high = 0.0, 1.0
        for _ in range(_SHRINKINGS):
            middle = (low + high) / 2
            tried = self.integers(shrunk(latents, middle))
            if fits(tried):
                high, found = middle, tried
            else:
                low = middle
        return found

    def smallest(self) -> Integers:
        """The least that a bundle of this task may hold: its head, as coarse as can be."""
        latents = self._at(COARSER * self._coarsest)
        assert latents is not None
        return self.integers(latents)

    def integers(self, latents: Latents) -> Integers:
        """The integers that a bundle would store of `latents`."""
        activations = [module.activation for module in self._modules]
        return Integers(
            tuple(integer_sites(latents, self._source.site_index)),
            tuple(integer_layers(latents, activations)),
            tuple(integer_vectors(latents, self._source.vector_index)),
        )

    def _finished(self, work: WorkFolder, names: Sequence[str]) -> FinishedWork:
        """The finished work on these layers in the source's work folder."""
        progress = self._source.progress
        key = work_key(self._models, names, self._examples, self._seed, progress)
        return FinishedWork(work.path, key)

    def _saved(self, start: Latents, how: Refinement, quantized: bool) -> SavedRefinement | None:
        """The file of a refinement in the work folder, if there is one."""
        if self._work is None or self._model is None:
            return None
        settings = asdict(how) | {"quantized": quantized, "weights": self._model.weights}
        return SavedRefinement(self._work, start, settings | CONSTANTS)

    def _length_of(self, how: Refinement) -> Refinement:
        """The refinement with as many steps, of as many texts, as suit the model and the texts."""
        assert self._model is not None
        length = self._usual_length
        if self._model.streamed:
            texts = min(max(_STREAMED_BATCH, round(_STREAMED_STEP_TOKENS / length)), how.texts)
            how = replace(how, texts=texts, sampled=_STREAMED_SAMPLED)
        return replace(how, steps=steps_for(how.steps, length, how.texts))

    @contextmanager
    def _student(
        self, latents: Latents, *, quantized: bool = True
    ) -> Iterator[tuple[Student, Any]]:
        """A student with these latents, and the fine-tuned model, as fast as the processor can."""
        assert self._model is not None
        model = self._model
        paths = {name: model.path(name) for name in latents.sites}
        dtype = training_dtype()
        heads = tuple(m.path for m in self._modules)
        index = self._source.vector_index
        vectors = tuple(integer_vectors(latents, index))
        with model.at(WithDelta(vectors=vectors) if vectors else BASE) as module:
            student = Student(module, latents, paths, heads, quantized=quantized, dtype=dtype)
        with model.at(TUNED) as module, lowered(student.module, dtype), lowered(module, dtype):
            yield student, module

    @staticmethod
    def _batch(model: TaskModel) -> int:
        """Texts of a batch whose gradients are taken."""
        return _STREAMED_BATCH if model.streamed else BATCH

    def _collect(self, progress: Progress) -> dict[str, Statistics]:
        if self._model is None:
            return {}
        model, names = self._model, [layer.name for layer in self._source.layers]
        texts = evenly_spaced(self._examples, _STATISTICS_TEXTS)
        batches = batches_of(self._models, texts, self._batch(model))
        with model.at(TUNED) as module:
            layers = {name: module.get_submodule(model.path(name)) for name in names}
            layers |= {m.path: module.get_submodule(m.path) for m in self._modules}
            with lowered(module, training_dtype(), only_streamed=not model.streamed):
                kind = KINDS[self._models.head.kind]
                return collect_statistics(module, layers, batches, self._seed, progress, kind=kind)

    def _head_layer(
        self, weight: torch.Tensor, statistics: Statistics | None
    ) -> Columns | tuple[torch.Tensor, float]:
        """A big layer's whitened columns; of a small one the matrix and the layer's weight."""
        own = statistics or Statistics()
        return whitened_svd(weight, own) if min(weight.shape) >= BIG else (weight, own.weight)

    @cached_property
    def _coarsest(self) -> float:
        """The step above which nothing is left but the least that a head needs."""
        wide = {f"head {i}": x for i, x in enumerate(self._head) if isinstance(x, Columns)}
        # Beside a delta that is hardly there the head's own step counts.
        own = [coarsest_of_matrix(*x) for x in self._head if not isinstance(x, Columns)]
        vectors = coarsest_of_vectors(self._vectors)
        return max([coarsest_step({**self._columns, **wide}), *own, vectors])

    def _at(self, step: float, *, feedback: bool = True, most: float = math.inf) -> Latents | None:
        """All layers at the global step.

        None where an integer is too large, or sites have more than `most` that are not zero.
        """
        left = most
        sites = {}
        for name, columns in self._columns.items():
            sites[name] = columns_at(columns, step, feedback=feedback)
            left -= _count(sites[name])
            if left < 0:
                return None
        head = tuple(
            head_columns_at(x, step, feedback=feedback)
            if isinstance(x, Columns)
            else matrix_at(*x, step)
            for x in self._head
        )
        vectors = vectors_at(self._vectors, step)
        if any(math.isinf(_count(layer)) for layer in (*head, *vectors.values())):
            return None
        return shrunk(Latents(sites, head, self._biases, vectors), 0.0)

    def _rescaled(self, latents: Latents) -> Latents:
        sites = {}
        for name, latent in latents.sites.items():
            delta = site_delta(self._models.backbone, self._models.tuned, name)
            assert delta is not None
            sites[name] = rescaled(latent, delta, self._statistics[name].load())
        vectors = {name: rescaled_vector(latent) for name, latent in latents.vectors.items()}
        return replace(latents, sites=sites, vectors=vectors)

    def _weighted_vectors(self) -> dict[str, WeightedVector]:
        """The changes of biases and norms that bundles are to have, with their weights."""
        changes = self._source.vectors
        weights: dict[str, float] = {}
        if changes and self._model is not None:
            texts = evenly_spaced(self._examples, _VECTORS_TEXTS)
            batches = batches_of(self._models, texts, self._batch(self._model))
            weights = vector_weights(
                self._model, list(changes), batches, self._seed, self._source.progress
            )
        return {name: WeightedVector(x, weights.get(name, 1.0)) for name, x in changes.items()}

    @cached_property
    def _usual_length(self) -> float:
        """Tokens of a calibration text, on average; no bound for pictures, which are long."""
        if self._models.backbone.family.reads_images:
            return math.inf
        some = batches_of(self._models, evenly_spaced(self._examples, _STATISTICS_TEXTS))
        tokens = sum(int(batch.mask.sum()) for batch in some if batch.mask is not None)
        return tokens / sum(len(batch.rows) for batch in some)


def steps_for(usual: int, length: float, texts: int = BATCH) -> int:
    """Steps of `texts` of `length` tokens that take about as long as `usual` ones of longer."""
    return round(usual * min(max(1.0, _STEP_TOKENS / (texts * length)), 2.0))


def _count(latent: Latent) -> float:
    """Values other than zero once quantised; infinitely many where one is too large to store."""
    count = 0
    for x in latent.rows:
        if float(x.abs().max() if x.numel() else 0.0) > _MOST_LEVELS:
            return math.inf
        count += int((x.abs() >= 1 - ROUNDING).sum())
    return count
