"""Bases of random weights in the shapes of models that people ship, and classifiers over them.

Configurations are those published for roberta-large and facebook/opt-1.3b, weights those of their
initialisation, in the types that their files have. A fine-tuned layer is the base's plus a delta
of decaying spectrum plus noise. Tensors are made one at a time, by name, from a seed.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, OPTConfig, PreTrainedTokenizerFast, RobertaConfig

from osd_edge.data.progress import Progress, silent

LABELS = ("negative", "neutral", "positive")
SEQUENCES, TOKENS = 128, 128  # of the calibration set
_RANK = 64
_DECAY = 0.9  # of one singular value of a delta over the one before
_SIZE = 0.02  # norm of a delta over that of the layer's weights
_NOISE = 0.3  # norm of the delta's noise over that of the rest
_WORDS = 4000


@dataclass(frozen=True)
class Shape:
    """A model: how many layers it has, its configuration, and the type of its weights."""

    layers: int
    kind: Any
    settings: dict[str, Any]
    dtype: torch.dtype

    def config(self, layers: int) -> Any:
        """The configuration with that many layers."""
        return self.kind(num_hidden_layers=layers, **self.settings)


MODELS = {
    "roberta-large": Shape(
        24,
        RobertaConfig,
        {"vocab_size": 50265, "hidden_size": 1024, "intermediate_size": 4096}
        | {"num_attention_heads": 16, "max_position_embeddings": 514, "type_vocab_size": 1}
        | {"layer_norm_eps": 1e-5, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
        torch.float32,
    ),
    "opt-1.3b": Shape(
        24,
        OPTConfig,
        {"vocab_size": 50272, "hidden_size": 2048, "ffn_dim": 8192, "word_embed_proj_dim": 2048}
        | {"num_attention_heads": 32, "max_position_embeddings": 2048}
        | {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2},
        torch.float16,
    ),
}


def make_models(
    name: str, layers: int, base: Path, tuned: Path, progress: Progress = silent
) -> None:
    """Write a base to the folder `base` and a classifier fine-tuned from it to `tuned`."""
    shape = MODELS[name]
    config = shape.config(layers)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    prefix = model.base_model_prefix
    linear = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)} - {
        "pooler.dense.weight"
    }
    for folder in (base, tuned):
        folder.mkdir(parents=True, exist_ok=True)
        _tokenizer(config).save_pretrained(folder)
    config.architectures = [type(model).__name__]
    config.save_pretrained(base)
    _save(base, ((n, _value(n, s, 0)) for n, s in shapes.items()), shapes, shape.dtype, progress)
    head = _head(name, config.hidden_size)
    config.architectures = [type(model).__name__.replace("Model", "ForSequenceClassification")]
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: i for i, label in enumerate(LABELS)}
    config.save_pretrained(tuned)
    kept = {n: s for n, s in shapes.items() if not n.startswith("pooler.")}
    named = {f"{prefix}.{n}": s for n, s in kept.items()} | {
        n: tuple(t.shape) for n, t in head.items()
    }

    def values() -> Iterator[tuple[str, torch.Tensor]]:
        for n, s in kept.items():
            value = _value(n, s, 0)
            yield f"{prefix}.{n}", value + _delta(n, value) if n in linear else value
        yield from head.items()

    _save(tuned, values(), named, shape.dtype, progress)


def write_calibration(path: Path) -> None:
    """Write texts of `TOKENS` tokens, special ones included, a line each."""
    rng = random.Random(0)
    lines = (
        " ".join(f"w{int(_WORDS * rng.random() ** 3)}" for _ in range(TOKENS - 2))
        for _ in range(SEQUENCES)
    )
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _value(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """A parameter as it is initialised: LayerNorms at one, biases at zero, the rest normal."""
    if len(shape) == 1:
        return torch.full(shape, float("norm" in name.lower() and name.endswith("weight")))
    return torch.randn(shape, generator=_generator(name, seed)) * 0.02


def _delta(name: str, weight: torch.Tensor) -> torch.Tensor:
    n, d = weight.shape
    generator = _generator(name, 1)
    spectrum = _DECAY ** torch.arange(_RANK)
    left = torch.randn(n, _RANK, generator=generator) * spectrum
    delta = left @ torch.randn(_RANK, d, generator=generator)
    delta /= delta.norm()
    noise = torch.randn(n, d, generator=generator)
    scaled: torch.Tensor = (delta + noise * (_NOISE / noise.norm())) * (_SIZE * weight.norm())
    return scaled


def _head(name: str, width: int) -> dict[str, torch.Tensor]:
    paths = {"roberta-large": ("classifier.dense", "classifier.out_proj"), "opt-1.3b": ("score",)}
    head = {}
    for path in paths[name]:
        outputs = width if path.endswith("dense") else len(LABELS)
        head[f"{path}.weight"] = torch.randn(outputs, width, generator=_generator(path, 2)) * 0.05
        if path != "score":
            head[f"{path}.bias"] = torch.zeros(outputs)
    return head


def _generator(name: str, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(random.Random(f"{name} {seed}").getrandbits(48))


def _save(
    folder: Path,
    values: Iterator[tuple[str, torch.Tensor]],
    shapes: dict[str, tuple[int, ...]],
    dtype: torch.dtype,
    progress: Progress,
) -> None:
    """Write `model.safetensors` tensor by tensor, so that one is in memory at a time."""
    kind = {torch.float32: "F32", torch.float16: "F16"}[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        end = at + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    part = folder / "model.part"
    with part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in progress(values, f"Making {folder.name}", len(shapes)):
            file.write(tensor.to(dtype).contiguous().numpy().data)
    part.replace(folder / "model.safetensors")


def _tokenizer(config: Any) -> PreTrainedTokenizerFast:
    """Words w0, w1 and so on, with the special tokens where the configuration has them."""
    special = {config.bos_token_id: "<s>", config.pad_token_id: "<pad>", 3: "<unk>"}
    special |= {} if config.eos_token_id in special else {config.eos_token_id: "</s>"}
    ids = {token: i for i, token in special.items()}
    free = (i for i in range(4 + _WORDS) if i not in special)
    ids |= {f"w{word}": i for word, i in zip(range(_WORDS), free, strict=False)}
    end = "</s>" if "</s>" in ids else "<s>"
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single=f"<s> $A {end}",
        pair=f"<s> $A {end} $B {end}",
        special_tokens=[("<s>", ids["<s>"]), (end, ids[end])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token=end,
        model_max_length=512,
    )
