"""Small language models of random weights, of families whose graph is traced."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPT2Config, OPTConfig, PhiConfig

VOCABULARY = 96

_TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
# By a name for the variant: the configuration's class and settings.
VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48}),
    "opt": (
        OPTConfig,
        _SIZES | {"word_embed_proj_dim": 32, "ffn_dim": 48, "max_position_embeddings": 48},
    ),
    "opt-projected": (
        OPTConfig,
        _SIZES
        | {"word_embed_proj_dim": 16, "ffn_dim": 48, "max_position_embeddings": 48}
        | {"do_layer_norm_before": False},
    ),
    "phi": (PhiConfig, _SIZES | {"intermediate_size": 48, "max_position_embeddings": 48}),
    "phi-grouped": (
        PhiConfig,
        _SIZES
        | {"intermediate_size": 48, "max_position_embeddings": 48, "num_key_value_heads": 2}
        | {"qk_layernorm": True, "tie_word_embeddings": True},
    ),
    "gpt2-untied": (
        GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48}
        | {"tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True},
    ),
}


def make_language_model(
    variant: str, folder: Path, *, vocab_size: int = VOCABULARY, **saving: Any
) -> Path:
    """Save a language model of random weights, without a tokenizer, in `folder`.

    `saving` goes to `save_pretrained`.
    """
    torch.manual_seed(0)
    kind, settings = VARIANTS[variant]
    settings = _TOKENS | settings | {"vocab_size": vocab_size}
    model = AutoModelForCausalLM.from_config(kind(**settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder, **saving)
    return folder
