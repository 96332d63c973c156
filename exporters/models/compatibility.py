"""Refuses a fine-tuned model that is no version of the base, as its delta would mean nothing."""

import json
from typing import Any

from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.backbone import Backbone, check_parameters, described_model
from osd_edge.exporters.models.checkpoint import BUFFERS, Checkpoint
from osd_edge.exporters.models.head_plan import HeadPlan
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.exporters.models.token_types import without_types
from osd_edge.exporters.models.tokenizer import load_tokenizer
from osd_edge.exporters.models.tokenizer_files import TOKENIZER_CONFIG

# Settings that change what equal weights compute.
_SETTINGS = (
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "activation",
    "activation_function",
    "layer_norm_eps",
    "position_embedding_type",
    "is_decoder",
)

_DEFAULTS = {"position_embedding_type": "absolute"}


def check_architecture(backbone: Backbone, tuned: Checkpoint) -> None:
    """Refuse (`model.architecture`) a model of another family than the base."""
    base = backbone.checkpoint
    if tuned.config.model_type != base.config.model_type:
        raise ModelError(
            Code.MODEL_ARCHITECTURE,
            f"{tuned.folder} is a {tuned.config.model_type} model, the base is "
            f"{base.config.model_type}: give the base that it was fine-tuned from",
        )


def check_same_backbone(backbone: Backbone, tuned: Checkpoint, plan: HeadPlan) -> None:
    """Refuse a model of another shape, vocabulary, configuration or tokenizer (ModelError)."""
    base = backbone.checkpoint
    check_parameters(tuned, backbone, used_parameters(backbone, tuned, plan))
    parts = [path for module in plan.modules for path in (module.path, module.norm) if path]
    parts += [backbone.family.lm_head] if backbone.family.lm_head else []
    heads = tuple(f"{path}." for path in parts)
    for name in tuned.backbone_names():
        known = name in backbone.parameters or name.rsplit(".", 1)[-1] in BUFFERS
        if not known and not name.startswith(heads):
            raise ModelError(
                Code.MODEL_ARCHITECTURE, f"{tuned.folder} has {name}, which the base has not"
            )
    for setting in (*_SETTINGS, *backbone.family.settings):
        ours, theirs = (_setting(one.config, setting) for one in (base, tuned))
        if ours != theirs:
            raise ModelError(
                Code.MODEL_ARCHITECTURE,
                f"{tuned.folder} has {setting} {theirs!r}, the base has {ours!r}",
            )
    _check_described(backbone, tuned, plan)
    _check_tokenizer(base, tuned)


def _setting(config: Any, name: str) -> Any:
    """A setting; its default where the file is of a transformers that has it no more."""
    value = getattr(config, name, None)
    return _DEFAULTS.get(name) if value is None else value


def _check_described(backbone: Backbone, tuned: Checkpoint, plan: HeadPlan) -> None:
    """Refuse a configuration of other sizes than the weights beside it have."""
    model = described_model(tuned, backbone.family, plan.pooling == "pooler")
    for path, parameter in model.named_parameters():
        name = checkpoint_name(backbone.family, path)
        described, found = tuple(parameter.shape), backbone.parameters.get(name)
        if described != found:
            raise ModelError(
                Code.MODEL_ARCHITECTURE,
                f"{tuned.folder}: its config.json describes {name} of shape {list(described)}, "
                f"its weights have {list(found or ())}",
            )


def used_parameters(backbone: Backbone, tuned: Checkpoint, plan: HeadPlan) -> list[str]:
    """Backbone parameters that the task needs: all but a pooler that its head does without."""
    pooler = backbone.family.pooler
    return [
        name
        for name in backbone.parameters
        if plan.pooling == "pooler"
        or pooler is None
        or name in tuned
        or not name.startswith(f"{pooler.path}.")
    ]


def check_finite(checkpoint: Checkpoint, names: list[str], progress: Progress = silent) -> None:
    """Refuse (`model.not-finite`) NaN or infinity anywhere in the tensors `names`."""
    for name in progress(names, f"Checking {checkpoint.folder.name}"):
        if not checkpoint.is_base_own(name):  # which is checked as the base's
            checkpoint.float32(name)


def _check_tokenizer(base: Checkpoint, tuned: Checkpoint) -> None:
    ours, theirs = load_tokenizer(base), load_tokenizer(tuned)
    if ours is None or theirs is None:
        return  # nothing to compare; the device uses the base's, if there is one
    ours, theirs = _what_it_does(ours), _what_it_does(theirs)
    if ours != theirs and without_types(ours) == without_types(theirs):
        raise ModelError(
            Code.MODEL_TOKENIZER,
            f"the tokenizers in {base.folder} and {tuned.folder} give the second text of a pair "
            f"other types of tokens: make model_input_names in both {TOKENIZER_CONFIG} the same",
        )
    if ours != theirs:
        raise ModelError(
            Code.MODEL_TOKENIZER,
            f"the tokenizer in {tuned.folder} differs from the base's: tasks over one base share "
            "its tokenizer",
        )


def _what_it_does(tokenizer: Any) -> dict[str, Any]:
    """All that makes tokens of a text."""
    description: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    # Of a batch, and of the way back from tokens, for which the base's own is used.
    for setting in ("truncation", "padding", "decoder"):
        description.pop(setting, None)
    return description
