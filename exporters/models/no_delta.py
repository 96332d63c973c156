"""Refuses a fine-tuned model without a delta: its linear layers are the base's own."""

import torch

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.models.left_out import left_out

_MOST_NAMED = 3


def check_differs(models: FineTuned) -> None:
    """Refuse (`model.same`) a fine-tuned model whose linear layers all equal the base's.

    The message says what was trained: the head alone, biases and norms, which `--vectors` carries,
    or what a bundle has no place for.
    """
    backbone, tuned = models.backbone, models.tuned
    for layer in backbone.layers:
        name = f"{layer.name}.weight"
        if name in tuned and not torch.equal(
            tuned.float32(name), backbone.checkpoint.float32(name)
        ):
            return
    vectors = len(models.changed_vectors)
    if vectors:
        advice = f"it has {vectors} other biases and norms, and osd-rd with --vectors takes those"
    elif trained := sorted(left_out(backbone, tuned, models.head)):
        more = f" and {len(trained) - _MOST_NAMED} more" if len(trained) > _MOST_NAMED else ""
        advice = (
            f"it was trained in {shown(', '.join(trained[:_MOST_NAMED]), 200)}{more}, which a "
            "bundle has no place for; train linear layers, with LoRA for one"
        )
    else:
        advice = "where its head alone was trained, --method head makes a bundle of that"
    raise ModelError(
        Code.MODEL_SAME, f"{tuned.folder} has the base's own linear layers, so no delta: {advice}"
    )
