"""Small random-weight checkpoints of each family: a base, and classifiers "fine-tuned" from it."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    ModernBertConfig,
    MPNetConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    ViTConfig,
    XLMRobertaConfig,
)

from osd_edge.exporters.models.linear import linear_shape
from osd_edge.exporters.quiet import quiet_libraries

quiet_libraries()

WORDS = ("the", "a", "cat", "dog", "bird", "sat", "ran", "flew", "on", "over", "under", "mat")
LABELS = ("red", "green", "blue")


_LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_ENCODER = _LAYERS | {"intermediate_size": 48, "max_position_embeddings": 64}
_OFFSET = {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 0}
_SETTINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bert": (BertConfig, _ENCODER),
    "roberta": (RobertaConfig, _ENCODER | _OFFSET),
    "xlm-roberta": (XLMRobertaConfig, _ENCODER | _OFFSET),
    "mpnet": (MPNetConfig, _ENCODER | {"max_position_embeddings": 66, "pad_token_id": 1}),
    "electra": (ElectraConfig, _ENCODER | {"embedding_size": 16}),
    "albert": (AlbertConfig, _ENCODER | {"embedding_size": 16, "num_hidden_layers": 3}),
    "modernbert": (
        ModernBertConfig,
        _ENCODER
        | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2}
        | {"sep_token_id": 3, "global_attn_every_n_layers": 2, "local_attention": 8},
    ),
    "deberta-v2": (
        DebertaV2Config,
        _ENCODER
        | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16}
        | {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False}
        | {"type_vocab_size": 0, "pooler_hidden_size": 32},
    ),
    "gpt2": (
        GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
        | {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0},
    ),
    "vit": (
        ViTConfig,
        _LAYERS | {"intermediate_size": 48, "image_size": 16, "patch_size": 4},
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


FAMILIES = tuple(_SETTINGS)


def config(family: str, **changes: Any) -> Any:
    """A configuration with widths of 32 to 64, so that a model takes well under a megabyte."""
    kind, settings = _SETTINGS[family]
    vocabulary = {} if family == "vit" else {"vocab_size": 4 + len(WORDS)}
    return kind(**(vocabulary | settings | changes))


def make_base(
    family: str, folder: Path, *, pooler: bool = True, seed: int = 0, **changes: Any
) -> Path:
    """Save a base of random weights and its tokenizer in `folder`."""
    torch.manual_seed(seed)
    with_pooler = ("bert", "roberta", "xlm-roberta", "mpnet", "albert", "vit")
    extra = {"add_pooling_layer": pooler} if family in with_pooler else {}
    model = AutoModel.from_config(config(family, **changes), **extra)
    _shake(model, 0.1)
    model.save_pretrained(folder)
    if family != "vit":
        _tokenizer().save_pretrained(folder)
    return folder


def make_tuned(
    base: Path,
    folder: Path,
    *,
    labels: tuple[str, ...] = LABELS,
    seed: int = 1,
    size: float = 0.05,
    task: Any = AutoModelForSequenceClassification,
    linear_only: bool = False,
    **settings: Any,
) -> Path:
    """Save a `task` model whose backbone is that of `base` plus a random delta in every weight.

    `settings` go to the configuration; the default is a classifier. With `linear_only` embeddings,
    biases and LayerNorms stay the base's, so that a bundle can hold all of the difference.
    """
    torch.manual_seed(seed)
    model = task.from_pretrained(
        base,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        **settings,
    )
    backbone = {id(parameter) for parameter in model.base_model.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in backbone:
            with torch.no_grad():
                parameter.normal_(0, 0.3)
    _shake(model, size)
    if linear_only:
        _restore(model.base_model, AutoModel.from_pretrained(base))
    model.save_pretrained(folder)
    if (base / "tokenizer.json").is_file():
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


def tokens_of(folder: Path, texts: list[str], inputs: tuple[str, ...]) -> dict[str, Any]:
    """The tensors `inputs` of texts, by the tokenizer in `folder`, padded to one length."""
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding=True, return_tensors="pt", return_token_type_ids=True
    )
    return {name: tokens[name] for name in inputs}


def write_tsv(path: Path, count: int = 24, labels: tuple[str, ...] = LABELS, seed: int = 0) -> Path:
    """A labelled file of random sentences."""
    rows = [f"{labels[i % len(labels)]}\t{text}" for i, text in enumerate(sentences(count, seed))]
    path.write_text("\n".join(["label\ttext", *rows]) + "\n", "utf-8")
    return path


def _shake(model: torch.nn.Module, size: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * size)


def _restore(model: Any, base: Any) -> None:
    linear = {f"{n}.weight" for n, m in base.named_modules() if linear_shape(m) is not None}
    original = dict(base.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in original and name not in linear:
                parameter.copy_(original[name])


def save_tokenizer(folder: Path) -> None:
    """Save the tokenizer of the known words."""
    _tokenizer().save_pretrained(folder)


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
