"""`genai_config.json`: the facts of a base package in the words of onnxruntime-genai."""

from typing import Any

from osd_edge.formats.package.generation import LOGITS, PARTS, PAST, PRESENT, Generation
from osd_edge.formats.package.manifest import MODEL

GENAI_CONFIG = "genai_config.json"
# Tokens of a prompt and its answer, unless an app says otherwise: genai makes room for their keys
# and values at once (docs/adapters.md has the bytes).
USUAL_LENGTH = 2048
INPUTS = ("input_ids", "attention_mask")  # which it knows under these names


def genai_config(
    facts: Generation, hidden_size: int, pad_id: int | None, bos_id: int | None
) -> dict[str, Any]:
    """Gives the contents of `genai_config.json` for a base that writes text.

    `pad_id` and `bos_id` are the tokenizer's, where there are such tokens. Answers are the
    likeliest tokens unless an app says otherwise, as in a session.
    """
    known = pad_id is not None and pad_id < facts.vocabulary  # a tokenizer may have more tokens
    config: dict[str, Any] = {
        "type": "decoder",  # any of its decoders whose inputs and outputs are told by name
        "context_length": facts.context,
        "vocab_size": facts.vocabulary,
        "eos_token_id": list(facts.stop_ids),
        "pad_token_id": pad_id if known else facts.stop_ids[0],
        "decoder": {
            "session_options": {"provider_options": []},
            "filename": MODEL,
            "hidden_size": hidden_size,
            "head_size": facts.head_size,
            # What it reads of heads is the sizes of keys and values.
            "num_attention_heads": facts.heads,
            "num_key_value_heads": facts.heads,
            "num_hidden_layers": facts.layers,
            "inputs": {name: name for name in INPUTS} | _by_layer("past", PAST),
            "outputs": {"logits": LOGITS} | _by_layer("present", PRESENT),
        },
    }
    if bos_id is not None:
        config["bos_token_id"] = bos_id
    search = {
        "do_sample": False,
        "max_length": min(facts.context, USUAL_LENGTH),
        "past_present_share_buffer": facts.in_place,
    }
    return {"model": config, "search": search}


def _by_layer(kind: str, pattern: str) -> dict[str, str]:
    return {f"{kind}_{part}_names": pattern.format(layer="%d", part=part) for part in PARTS}
