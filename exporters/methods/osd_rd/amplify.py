"""Amplification: one factor on every delta, where no scale is trained.

The least-squares scales of the rescaling fit what is left of a delta to ΔW as a matrix, in which
what was left out counts as noise. In the answers it does not: it pushed them the same way, and
without it they fall short. The factor makes up for that; it is chosen by the divergence of the
answers from the fine-tuned model's.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.kinds import Kind
from osd_edge.exporters.methods.osd_rd.student import Student
from osd_edge.exporters.scoring.batches import Batch

MOST_TEXTS = 256  # on which the factor is chosen
MOST_TEXTS_WRITTEN = 64  # of a task that writes, each of whose tokens is an answer
MOST_TEXTS_STREAMED = 32  # of a large model, which takes a second a text for each factor
_STEPS_AN_OCTAVE = 8
_MOST = 16  # steps: a factor of 4
_PATIENCE = 2  # factors in a row that are no better, after which larger ones are not tried


@torch.no_grad()
def best_amplification(
    student: Student,
    teacher: Any,
    batches: Sequence[Batch],
    kind: Kind,
    progress: Progress = silent,
) -> float:
    """The factor of at least 1 that brings the student's answers nearest to the teacher's.

    `kind` is that of the task. The student's scales are changed on the way.
    """
    expected, masks = _logits(teacher, batches), [batch.mask for batch in batches]
    start = {name: layer.log_scale.clone() for name, layer in student.sites.items()}
    losses: list[float] = []
    for i in progress(range(_MOST + 1), "Amplifying"):
        if losses and len(losses) > losses.index(min(losses)) + _PATIENCE:
            continue  # the bar runs to its end
        for name, layer in student.sites.items():
            layer.log_scale.copy_(start[name] + math.log(_factor(i)))
        given = _logits(student.module, batches)
        losses.append(kind.summed_loss(given, expected, masks)[0])
    return _factor(losses.index(min(losses)))


def _factor(step: int) -> float:
    return float(2 ** (step / _STEPS_AN_OCTAVE))


def _logits(model: Any, batches: Sequence[Batch]) -> list[Any]:
    return [model(**batch.tokens).logits.float() for batch in batches]
