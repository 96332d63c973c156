"""Small random-weight checkpoints of each family: a base, and classifiers "fine-tuned" from it."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

WORDS = ("the", "a", "cat", "dog", "bird", "sat", "ran", "flew", "on", "over", "under", "mat")
LABELS = ("red", "green", "blue")


_SETTINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bert": (
        BertConfig,
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        | {"intermediate_size": 48, "max_position_embeddings": 64},
    ),
    "roberta": (
        RobertaConfig,
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        | {"intermediate_size": 48, "max_position_embeddings": 66}
        | {"type_vocab_size": 1, "pad_token_id": 0},
    ),
    "distilbert": (
        DistilBertConfig,
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64},
    ),
    "opt": (
        OPTConfig,
        {"hidden_size": 32, "word_embed_proj_dim": 16, "num_hidden_layers": 2}
        | {"num_attention_heads": 4, "ffn_dim": 48, "max_position_embeddings": 64}
        | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
    ),
}


def config(family: str, **changes: Any) -> Any:
    """A configuration with widths of 32 to 64, so that a model takes well under a megabyte."""
    kind, settings = _SETTINGS[family]
    return kind(**({"vocab_size": 4 + len(WORDS)} | settings | changes))


def make_base(
    family: str, folder: Path, *, pooler: bool = True, seed: int = 0, **changes: Any
) -> Path:
    """Save a base of random weights and its tokenizer in `folder`."""
    torch.manual_seed(seed)
    extra = {} if family in ("distilbert", "opt") else {"add_pooling_layer": pooler}
    model = AutoModel.from_config(config(family, **changes), **extra)
    _shake(model, 0.1)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def make_tuned(
    base: Path, folder: Path, *, labels: tuple[str, ...] = LABELS, seed: int = 1, size: float = 0.05
) -> Path:
    """Save a classifier whose backbone is that of `base` plus a random delta in every weight."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    for name, parameter in model.named_parameters():
        if not name.startswith(f"{model.base_model_prefix}."):
            with torch.no_grad():
                parameter.normal_(0, 0.3)
    _shake(model, size)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def sentences(count: int, seed: int = 0, longest: int = 12) -> list[str]:
    """Distinct-length random sentences of known words."""
    generator = torch.Generator().manual_seed(seed)

    def number(high: int) -> int:
        return int(torch.randint(high, (1,), generator=generator))

    return [
        " ".join(WORDS[number(len(WORDS))] for _ in range(1 + number(longest)))
        for _ in range(count)
    ]


def write_tsv(path: Path, count: int = 24, labels: tuple[str, ...] = LABELS, seed: int = 0) -> Path:
    """A labelled file of random sentences."""
    rows = [f"{labels[i % len(labels)]}\t{text}" for i, text in enumerate(sentences(count, seed))]
    path.write_text("\n".join(["label\ttext", *rows]) + "\n", "utf-8")
    return path


def _shake(model: torch.nn.Module, size: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * size)


def _tokenizer() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )
