"""Makes a small base and two models fine-tuned from it, by transformers: `models.py DIR`."""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedTokenizerFast,
)

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "mat")
LABELS = {"colour": ("red", "green", "blue"), "size": ("small", "large")}


def main(folder: Path) -> None:
    """Save `base`, and a model named for each task, in `folder`."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    base = AutoModel.from_config(config)
    _save(base, folder / "base")
    for task, labels in LABELS.items():
        model = AutoModelForSequenceClassification.from_pretrained(
            folder / "base", num_labels=len(labels), id2label=dict(enumerate(labels))
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        _save(model, folder / task)


def _save(model: torch.nn.Module, folder: Path) -> None:
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)  # type: ignore[operator]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
