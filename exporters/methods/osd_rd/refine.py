"""Refinement: scales and head, or the codes too, are trained to follow the fine-tuned model.

The straight-through gradient of the quantiser trains latent values, which are codes once
rounded. An L1 term, applied after each step as soft thresholding (proximal gradient), holds the
coded size: its strength rises while the size is above the goal and falls while it is below.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.methods.options import REFINE_NAMES
from osd_edge.exporters.methods.osd_rd.distillation import (
    HIDDEN_WEIGHT,
    TEMPERATURE,
    distillation_loss,
    hidden_spread,
)
from osd_edge.exporters.methods.osd_rd.saved_refinement import Reached, SavedRefinement
from osd_edge.exporters.methods.osd_rd.student import LatentLinear, Student
from osd_edge.exporters.methods.stored.integers import approximate_bits
from osd_edge.exporters.methods.stored.latents import Latents
from osd_edge.exporters.models.head_plan import HeadPlan
from osd_edge.exporters.scoring.batches import Batch, mask_of

LATENT_RATE = 0.025  # in steps of the quantiser
SCALE_RATE = 0.02  # as a share of the scale
BIAS_RATE = 2e-3
BETAS = (0.9, 0.99)
WARM_UP = 8
DECAY = 1.5  # power with which rates fall to zero: the last steps settle what rounding left
_MEASURED_EVERY = 4
_GAIN = 2.0  # of the logarithm of the strength, for each measured excess
_SLACK = 1.02  # of the goal, until the last fifth of the steps
_FIRST_STRENGTH, _LEAST_STRENGTH, _MOST_STRENGTH = 0.05, 1e-3, 1.0  # of L1, in learning rates


@dataclass(frozen=True)
class Refinement:
    """A length of training, and whether codes are trained or scales and head alone.

    Where codes are, their size is held near `bits`; near that of the start unless given. A step
    takes `texts` texts. The variance of hidden states is taken over those of `sampled` steps.
    """

    steps: int
    codes: bool
    bits: float | None = None
    texts: int = 16
    sampled: int = 16


# What a refinement depends on beside its length and its start: one that is kept is of these.
CONSTANTS = {
    "rates": [LATENT_RATE, SCALE_RATE, BIAS_RATE, *BETAS, WARM_UP, DECAY],
    "strength": [_MEASURED_EVERY, _GAIN, _SLACK, _FIRST_STRENGTH, _LEAST_STRENGTH, _MOST_STRENGTH],
    "loss": [TEMPERATURE, HIDDEN_WEIGHT],
}

_USUAL = (
    Refinement(0, codes=False),
    Refinement(160, codes=False),
    Refinement(640, codes=True),
)
REFINEMENTS = dict(zip(REFINE_NAMES, _USUAL, strict=True))


@dataclass(frozen=True)
class Teacher:
    """The fine-tuned torch `module` that a student follows, and what its head is."""

    module: Any
    head: HeadPlan


def refine(
    student: Student,
    teacher: Teacher,
    batches: Sequence[Batch],
    refinement: Refinement,
    *,
    saved: SavedRefinement | None = None,
    progress: Progress = silent,
) -> Latents:
    """The student's latents after training on `batches`, one a step and in their order.

    Where codes are trained their coded size ends near what it was at the start. A refinement that
    is `saved` goes on from where it was broken off.
    """
    head = teacher.head
    layers = [*student.sites.values(), *student.head]
    groups = _parameter_groups(student, refinement)
    optimizer = torch.optim.Adam(groups, betas=BETAS)
    rates = [group["lr"] for group in groups]
    sized = refinement.codes and student.quantized
    goal = 0.0
    if sized:
        start = approximate_bits(student.latents())
        goal = start if refinement.bits is None else refinement.bits
    reached = None if saved is None else saved.restore(optimizer)
    if reached is None:
        sample = [batch.tokens for batch in batches[: refinement.sampled]]
        spread = hidden_spread(teacher.module, sample, head.pooling)
        reached = Reached(0, _FIRST_STRENGTH, spread)
    strength, spread = reached.strength, reached.spread
    for step in progress(range(refinement.steps), f"Refining {_what(refinement)}"):
        if step < reached.steps:
            continue  # the bar begins where it was
        tokens = dict(batches[step % len(batches)].tokens)
        pace = min(1.0, (step + 1) / WARM_UP) * (1 - step / refinement.steps) ** DECAY
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * pace
        with torch.no_grad():
            theirs = teacher.module(**tokens, output_hidden_states=True)
        ours = student.module(**tokens, output_hidden_states=True)
        mask = mask_of(tokens, theirs.hidden_states[-1])
        loss = distillation_loss(ours, theirs, mask, head, spread)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if sized:
            _threshold(layers, strength * LATENT_RATE * pace)
            if step % _MEASURED_EVERY == _MEASURED_EVERY - 1:
                slack = _SLACK if step < 0.8 * refinement.steps else 1.0
                excess = approximate_bits(student.latents()) / (slack * goal) - 1
                strength *= math.exp(_GAIN * excess)
                strength = min(max(strength, _LEAST_STRENGTH), _MOST_STRENGTH)
        if saved is not None and (saved.due or step == refinement.steps - 1):
            saved.keep(optimizer, Reached(step + 1, strength, spread))
    return student.latents()


def _parameter_groups(student: Student, refinement: Refinement) -> list[dict[str, Any]]:
    sites = list(student.sites.values())
    rows = [x for layer in student.head for x in layer.rows]
    if refinement.codes:
        rows += [x for layer in sites for x in layer.rows]
    groups = [
        (rows, LATENT_RATE),
        ([layer.log_scale for layer in [*sites, *student.head]], SCALE_RATE),
        ([layer.bias for layer in student.head if layer.bias is not None], BIAS_RATE),
    ]
    for parameters, _ in groups:
        for parameter in parameters:
            parameter.requires_grad_(True)
    return [{"params": parameters, "lr": rate} for parameters, rate in groups if parameters]


def _threshold(layers: Sequence[LatentLinear], amount: float) -> None:
    with torch.no_grad():
        for layer in layers:
            for x in layer.rows:
                if x.requires_grad:
                    x.copy_(functional.softshrink(x, amount))


def _what(refinement: Refinement) -> str:
    return "codes, scales and head" if refinement.codes else "scales and head"
