"""Sharded checkpoints of random weights in the shapes of decoders that people run on phones.

Configurations are those published for meta-llama/Llama-3.2-1B and Qwen/Qwen3-0.6B, weights those of
their initialisation, in bf16. Tensors are made one at a time, by name, from a seed.
"""

import json
import math
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from osd_edge.data.progress import Progress, silent

_SHARD_BYTES = 400 << 20
_SPECIAL = ("<unk>", "<pad>", "<s>", "</s>")
_WORDS = 4000
_LLAMA_ROTARY = {
    "rope_type": "llama3",
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
}
_OWN_IDS = {"bos_token_id": 2, "eos_token_id": 3}  # of the tokenizer made here
CONFIGURATIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama-3.2-1b": (
        LlamaConfig,
        {"num_hidden_layers": 16, "hidden_size": 2048, "intermediate_size": 8192}
        | {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64}
        | {"vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5}
        | {"rope_theta": 500000.0, "rope_scaling": _LLAMA_ROTARY},
    ),
    "qwen3-0.6b": (
        Qwen3Config,
        {"num_hidden_layers": 28, "hidden_size": 1024, "intermediate_size": 3072}
        | {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
        | {"vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6}
        | {"rope_theta": 1000000.0},
    ),
}


def write_checkpoint(
    name: str, layers: int | None, folder: Path, progress: Progress = silent
) -> None:
    """Writes the model `name` to `folder` in shards, with `layers` layers or its own number."""
    kind, settings = CONFIGURATIONS[name]
    fewer = {} if layers is None else {"num_hidden_layers": layers}
    config = kind(**settings | _OWN_IDS | fewer, tie_word_embeddings=True, dtype="bfloat16")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}  # a tied head has no own
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer().save_pretrained(folder)
    shards = _shards(shapes)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(progress(shards, "Making the checkpoint"), start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({n: _value(n, shapes[n]) for n in names}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)


def _shards(shapes: dict[str, tuple[int, ...]]) -> list[list[str]]:
    """Names by shard, in the model's order; a tensor larger than a shard has one of its own."""
    shards: list[list[str]] = []
    left = 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        if not shards or size > left:
            shards.append([])
            left = _SHARD_BYTES
        shards[-1].append(name)
        left -= size
    return shards


def _value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A parameter as it is initialised: norms at one, the rest normal."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    seed = random.Random(name).getrandbits(48)
    values = torch.empty(shape, dtype=torch.bfloat16)
    return values.normal_(0, 0.02, generator=torch.Generator().manual_seed(seed))


def _tokenizer() -> PreTrainedTokenizerFast:
    ids = {word: i for i, word in enumerate([*_SPECIAL, *(f"w{i}" for i in range(_WORDS))])}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
    )
