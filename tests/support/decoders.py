"""Small random-weight decoders of each family, models fine-tuned from them, and LoRA adapters."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from tests.support import tiny

_SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "vocab_size": 4 + len(tiny.WORDS),
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
DECODERS: dict[str, dict[str, Any]] = {
    "llama": _SHAPE | {"tie_word_embeddings": True},
    "smollm3": _SHAPE | {"no_rope_layers": [1, 0]},
    "qwen2": _SHAPE | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    "qwen3": _SHAPE | {"head_dim": 32, "tie_word_embeddings": False},
    "mistral": _SHAPE | {"sliding_window": 4},
    "gemma3_text": _SHAPE
    | {"head_dim": 32, "query_pre_attn_scalar": 24, "sliding_window": 4}
    | {"layer_types": ["sliding_attention", "full_attention"]},
    "phi": _SHAPE,
}
LINEAR = {"phi": ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]}
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_decoder(family: str, folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Save a base that generates text, of random weights, with its tokenizer."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, **(DECODERS[family] | changes))
    model = AutoModelForCausalLM.from_config(config)
    _shake(model, 0.1)
    model.save_pretrained(folder)
    tiny.save_tokenizer(folder)
    return folder


def make_tuned(
    base: Path, folder: Path, task: Any = AutoModelForCausalLM, *, seed: int = 1, **settings: Any
) -> Path:
    """Save a model of the class `task` whose linear layers are those of `base` plus a delta.

    What is no layer of the backbone's is drawn anew, but for the layer that gives logits.
    """
    torch.manual_seed(seed)
    model = task.from_pretrained(base, **settings)
    inner = next((getattr(model, n) for n in ("model", "transformer") if hasattr(model, n)), model)
    # transformers draws weights anew where a class calls its backbone otherwise than the file.
    inner.load_state_dict(AutoModelForCausalLM.from_pretrained(base).model.state_dict())
    backbone = {id(parameter) for parameter in inner.parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if id(parameter) not in backbone and not name.startswith("lm_head"):
                parameter.normal_(0, 0.3)
        for name, parameter in inner.named_parameters():
            if name.startswith("layers") and parameter.ndim == 2:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    tiny.save_tokenizer(folder)
    return folder


def make_lora(
    base: Path, folder: Path, task: Any = AutoModelForCausalLM, *, seed: int = 0, **settings: Any
) -> Path:
    """Save a PEFT adapter of rank 3 over all linear layers, of random values."""
    family = json.loads((base / "config.json").read_text())["model_type"]
    chosen: dict[str, Any] = {"r": 3, "lora_alpha": 7, "task_type": "CAUSAL_LM"}
    chosen["target_modules"] = LINEAR.get(family, ALL_LINEAR)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        # PEFT warns of a tied lm_head, and says that it saves the embedding beside its adapter.
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
        warnings.filterwarnings("ignore", "Setting `save_embedding_layers`")
        model = get_peft_model(task.from_pretrained(base), LoraConfig(**(chosen | settings)))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(folder)
    return folder


def _shake(model: torch.nn.Module, size: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * size)
