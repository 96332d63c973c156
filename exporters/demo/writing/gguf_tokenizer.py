"""Makes a tokenizer of a GGUF file's facts: byte pairs as GPT-2 has them, each digit by itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from osd_edge.data.files import write_file
from osd_edge.errors import Code, ModelError

_CONTROL = 3  # the type of a token that texts do not come to by themselves
_KNOWN = "smollm"  # the one way to cut texts, before pairs are joined, that is known here


def write_tokenizer(facts: Mapping[str, Any], folder: Path) -> None:
    """Writes the tokenizer and its settings, the chat template among them, to `folder`.

    Raises ModelError `model.family` for a file that cuts texts another way.
    """
    if facts["tokenizer.ggml.pre"] != _KNOWN:
        raise ModelError(
            Code.MODEL_FAMILY,
            f"expected a tokenizer that cuts texts as {_KNOWN} does, found "
            f"{facts['tokenizer.ggml.pre']}",
        )
    tokens: list[str] = facts["tokenizer.ggml.tokens"]
    tokenizer = Tokenizer(
        BPE(
            {token: number for number, token in enumerate(tokens)},
            [_two_parts(merge) for merge in facts["tokenizer.ggml.merges"]],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = facts["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    write_file(folder / "tokenizer.json", tokenizer.to_str().encode())
    names = {
        role: tokens[facts[f"tokenizer.ggml.{role}_token_id"]]
        for role in ("bos", "eos", "unknown", "padding")
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": names["bos"],
        "eos_token": names["eos"],
        "pad_token": names["padding"],
        "unk_token": names["unknown"],
        "model_max_length": facts["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "chat_template": facts["tokenizer.chat_template"],
    }
    data = (json.dumps(settings, indent=1) + "\n").encode()
    write_file(folder / "tokenizer_config.json", data)


def _two_parts(merge: str) -> tuple[str, str]:
    first, second = merge.split(" ")
    return first, second
