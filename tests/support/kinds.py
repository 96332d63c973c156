"""Task models of every kind: the class and settings to make one with, and one for embeddings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.bundle.writer import write_bundle
from tests.support import tiny

_TAGS = ("O", "B-ANIMAL", "I-ANIMAL", "B-PLACE", "I-PLACE")
# All kinds with labels but plain ones.
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "multi-label": (
        AutoModelForSequenceClassification,
        {"problem_type": "multi_label_classification"},
    ),
    "regression": (
        AutoModelForSequenceClassification,
        {"labels": ("score",), "problem_type": "regression"},
    ),
    "token-labels": (AutoModelForTokenClassification, {"labels": _TAGS}),
    "spans": (AutoModelForQuestionAnswering, {"labels": ("a", "b")}),
}


def make_embedding(base: Path, folder: Path, *, size: float = 0.2, seed: int = 1) -> Path:
    """Save a sentence-transformers model over `base`: the mean of the tokens, at length 1."""
    tiny.make_tuned(base, folder, size=size, linear_only=True, seed=seed)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    model.save_pretrained(folder)
    stages = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(
            [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
        )
    ]
    (folder / "modules.json").write_text(json.dumps(stages), "utf-8")
    (folder / "1_Pooling").mkdir()
    settings = {
        "word_embedding_dimension": model.config.hidden_size,
        "pooling_mode_mean_tokens": True,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def with_marks(bundle: Path, out: Path) -> Path:
    """The tagger in `bundle` with labels whose parts end too, as IOBES has them, named `marks`."""
    labels = ("B-X", "I-X", "E-X", "S-X", "E-MAIL")
    out.write_bytes(write_bundle(replace(read_bundle_file(bundle), task="marks", labels=labels)))
    return out
