"""The fine-tuned model itself, in torch: what a bundle is measured against."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from osd_edge.examples import Example
from osd_edge.exporters.calibration import make_batches
from osd_edge.exporters.checkpoint import Checkpoint
from osd_edge.exporters.families import family_of
from osd_edge.exporters.head import classification_labels
from osd_edge.exporters.tokenizer import load_tokenizer, max_tokens
from osd_edge.progress import Progress, silent


def fine_tuned_accuracy(
    tuned: str | Path, examples: Sequence[Example], progress: Progress = silent
) -> float:
    """Accuracy (0 to 1) of the classifier `tuned` on labelled `examples`, in float32."""
    checkpoint = Checkpoint(tuned)
    tokenizer = load_tokenizer(checkpoint)
    labels = classification_labels(checkpoint)
    inputs = family_of(checkpoint.config).inputs
    batches = make_batches(examples, labels, tokenizer, inputs, max_tokens(checkpoint, tokenizer))
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint.folder, dtype=torch.float32
    ).eval()
    right = 0
    with torch.inference_mode():
        for batch in progress(batches, "Fine-tuned model on test set"):
            right += int((model(**batch.tokens).logits.argmax(-1) == batch.labels).sum())
    return right / len(examples)


def fp32_bytes(tuned: str | Path) -> int:
    """Bytes of the checkpoint's weights in fp32, whatever it is stored in."""
    checkpoint = Checkpoint(tuned)
    return sum(4 * torch.Size(checkpoint.shape(name)).numel() for name in checkpoint.names())
