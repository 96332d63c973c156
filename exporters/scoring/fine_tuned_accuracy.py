"""The fine-tuned model itself, in torch: what a bundle is measured against."""

from collections.abc import Sequence
from pathlib import Path

import torch

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.models.adapted_checkpoint import AdaptedCheckpoint
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.head_plan import classification_labels
from osd_edge.exporters.models.tokenizer import max_tokens, tokenizer_for
from osd_edge.exporters.scoring.batches import make_batches
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED


def fine_tuned_accuracy(
    base: str | Path, tuned: str | Path, examples: Sequence[Example], progress: Progress = silent
) -> float:
    """Accuracy (0 to 1) of the classifier `tuned` on labelled `examples`, in float32."""
    backbone, checkpoint = backbone_of(Checkpoint(base)), Checkpoint(tuned)
    tokenizer = tokenizer_for(checkpoint, backbone.checkpoint)
    labels = classification_labels(checkpoint)
    limit = max_tokens(backbone.checkpoint, tokenizer)
    batches = make_batches(examples, labels, tokenizer, backbone.family.inputs, limit)
    right = 0
    with TaskModel(backbone, checkpoint).at(TUNED) as model, torch.inference_mode():
        for batch in progress(batches, "Fine-tuned model on test set"):
            right += int((model(**batch.tokens).logits.argmax(-1) == batch.labels).sum())
    return right / len(examples)


def fp32_bytes(tuned: Checkpoint) -> int:
    """Bytes of the checkpoint's weights in fp32, whatever it is stored in; of adapters, theirs."""
    if isinstance(tuned, AdaptedCheckpoint):
        return 4 * tuned.adapter_values
    return sum(4 * torch.Size(tuned.shape(name)).numel() for name in tuned.names())
