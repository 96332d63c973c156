"""Takes token types out of tokenizers whose own settings leave them out.

A tokenizer's file says what type each token of two texts has; its configuration may say that models
are not given them (`model_input_names`). Then all tokens are of type 0, as in one text.
"""

import json
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from osd_edge.exporters.models.tokenizer_files import TOKENIZER_CONFIG

TYPES = "token_type_ids"


def has_types(config: PretrainedConfig) -> bool:
    """Says whether models of this configuration tell types of tokens apart."""
    return (getattr(config, "type_vocab_size", None) or 0) > 1


def leaves_types_out(folder: Path) -> bool:
    """Says whether the configuration of the tokenizer in `folder` names inputs, and no types.

    Where it names none, versions of transformers differ, and the tokenizer's file counts.
    """
    try:
        named = json.loads((folder / TOKENIZER_CONFIG).read_text("utf-8")).get("model_input_names")
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(named, list) and TYPES not in named


def without_types(described: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer that `described`, a tokenizer.json, is of, with all tokens of type 0."""
    return described | {"post_processor": _untyped(described.get("post_processor"))}


def _untyped(processor: Any) -> Any:
    if not isinstance(processor, dict):
        return processor
    if processor.get("type") == "Sequence":
        return processor | {"processors": [_untyped(one) for one in processor["processors"]]}
    if processor.get("type") == "BertProcessing":
        processor = _as_template(processor)
    if processor.get("type") != "TemplateProcessing":
        return processor  # the others give none
    pieces = {
        name: [
            {kind: piece | {"type_id": 0} for kind, piece in one.items()} for one in processor[name]
        ]
        for name in ("single", "pair")
    }
    return processor | pieces


def _as_template(bert: dict[str, Any]) -> dict[str, Any]:
    """BERT's processor as a template: a token before the first text, one after each."""
    (begin, begin_id), (end, end_id) = bert["cls"], bert["sep"]

    def token(name: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    def text(which: str) -> dict[str, Any]:
        return {"Sequence": {"id": which, "type_id": 0}}

    single = [token(begin), text("A"), token(end)]
    ids = {begin: begin_id, end: end_id}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B"), token(end)],
        "special_tokens": {
            name: {"id": name, "ids": [own], "tokens": [name]} for name, own in ids.items()
        },
    }
