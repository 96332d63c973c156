"""Task models of every kind but plain labels, by kind: the class and settings to make one with."""

from typing import Any

from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

_TAGS = ("O", "B-ANIMAL", "I-ANIMAL", "B-PLACE", "I-PLACE")
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
