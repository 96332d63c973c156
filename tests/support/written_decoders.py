"""Small decoders of Llama's shape with random weights, and torch's answers to compare with."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM

from tests.support import tiny

VOCABULARY = 4 + len(tiny.WORDS)
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
_WINDOW = {"sliding_window": 6}
_LAYERS = {"layer_types": ["sliding_attention", "full_attention"]}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
# The family, and what its configuration has besides the sizes.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-own-head": ("llama", {"tie_word_embeddings": False}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-3": ("llama", {"rope_scaling": _LLAMA3, "rope_parameters": _LLAMA3}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0]}),
    "smollm3-window": (
        "smollm3",
        {"no_rope_layers": [1, 0], "use_sliding_window": True} | _WINDOW | _LAYERS,
    ),
    "qwen2": ("qwen2", {}),
    "qwen2-window": ("qwen2", {"use_sliding_window": True} | _WINDOW | _LAYERS),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "mistral": ("mistral", {"head_dim": 16} | _WINDOW),
    "gemma3": (
        "gemma3_text",
        {"head_dim": 32, "query_pre_attn_scalar": 24, "final_logit_softcapping": 5.0}
        | _WINDOW
        | _LAYERS,
    ),
}


def make_decoder(variant: str, folder: Path) -> Any:
    """Saves a decoder with its tokenizer in `folder`, and gives its torch model."""
    family, changes = VARIANTS[variant]
    torch.manual_seed(0)
    tied = {"tie_word_embeddings": True}
    config = AutoConfig.for_model(family, **(_SIZES | tied | changes))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    tiny.save_tokenizer(folder)
    return model


def torch_answers(model: Any, ids: list[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Hidden states `[tokens, hidden]` and logits `[tokens, vocabulary]` of one text."""
    with torch.no_grad():
        answer = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    return np.asarray(answer.hidden_states[-1][0]), np.asarray(answer.logits[0])
