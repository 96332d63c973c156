"""Model families as data: how their classification heads are built, and what fusion they take.

Sites are not named here: every `torch.nn.Linear` of the backbone is one.
"""

from dataclasses import dataclass

from transformers import PretrainedConfig

from osd_edge.errors import ModelError


@dataclass(frozen=True)
class HeadModule:
    """A linear layer of the task model's head, by its module path in the checkpoint."""

    path: str
    activation: str | None = None


@dataclass(frozen=True)
class Family:
    """What the exporter knows of a family beyond its module tree.

    `classifier` is the head of its AutoModelForSequenceClassification, applied after `pooling`.
    `pooler` names the backbone's own pooler layer (with tanh), where a head may start from it.
    `inputs` are the token tensors that the backbone takes.
    `fusion` is the model type that onnxruntime's transformer optimizer knows it by, if any.
    """

    model_type: str
    pooling: str
    classifier: tuple[HeadModule, ...]
    pooler: str | None = None
    head_uses_pooler: bool = False
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    fusion: str | None = None


_FAMILIES = (
    Family(
        "bert",
        pooling="cls",
        classifier=(HeadModule("classifier"),),
        pooler="pooler.dense",
        head_uses_pooler=True,
        inputs=("input_ids", "attention_mask", "token_type_ids"),
        fusion="bert",
    ),
    Family(
        "roberta",
        pooling="cls",
        classifier=(HeadModule("classifier.dense", "tanh"), HeadModule("classifier.out_proj")),
        pooler="pooler.dense",
        fusion="bert",
    ),
    Family(
        "distilbert",
        pooling="cls",
        classifier=(HeadModule("pre_classifier", "relu"), HeadModule("classifier")),
        fusion="bert",
    ),
    Family("opt", pooling="last", classifier=(HeadModule("score"),)),
)


def family_of(config: PretrainedConfig) -> Family:
    """The family of a model; raises ModelError `model.family` where it is not known."""
    for family in _FAMILIES:
        if family.model_type == config.model_type:
            return family
    known = ", ".join(family.model_type for family in _FAMILIES)
    raise ModelError(
        "model.family",
        f"models of type {config.model_type!r} are not known (known: {known}); a family is a few "
        "lines in exporters/families.py",
    )
