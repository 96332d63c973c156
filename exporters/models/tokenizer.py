"""The tokenizer of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from osd_edge.data.raised_by import raised_by
from osd_edge.errors import Code, DataError, ModelError, shown
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.families import family_of
from osd_edge.exporters.models.library_version import TRANSFORMERS
from osd_edge.exporters.models.padding import pad_within_vocabulary
from osd_edge.exporters.models.token_types import has_types, leaves_types_out, without_types
from osd_edge.exporters.models.tokenizer_files import (
    TOKENIZER_CONFIG,
    check_sentencepiece,
    check_vocabulary,
    has_tokenizer,
    why_no_tokenizer,
)
from osd_edge.formats.package.manifest import TOKENIZER

# Settings of BERT's tokenizers, and what the steps in tokenizer.json call them.
_BERT_STEPS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's fast tokenizer, None where the folder has no tokenizer files.

    A checkpoint's own code is never run. Raises ModelError `model.tokenizer`.
    """
    if not has_tokenizer(checkpoint.folder):
        return None
    try:
        tokenizer = _read(checkpoint.folder)
        if tokenizer.is_fast:
            if has_types(checkpoint.config) and leaves_types_out(checkpoint.folder):
                described = without_types(json.loads(tokenizer.backend_tokenizer.to_str()))
                tokenizer._tokenizer = Tokenizer.from_str(json.dumps(described))
            tokenizer("a text")  # what is damaged may be found no sooner
    except BaseException as error:  # malformed files end in whatever the libraries stumble over
        if not isinstance(error, Exception) and not raised_by("tokenizers", error):
            raise  # the package's panics are no Exception
        why = why_no_tokenizer(checkpoint.folder, error)
        raise ModelError(
            Code.MODEL_TOKENIZER, f"cannot read the tokenizer in {checkpoint.folder}: {why}"
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            Code.MODEL_TOKENIZER, f"{checkpoint.folder} has no fast tokenizer (tokenizer.json)"
        )
    check_vocabulary(checkpoint.folder, tokenizer)
    writes = family_of(checkpoint.config).lm_head is not None
    if TRANSFORMERS >= 5:
        check_sentencepiece(checkpoint.folder, tokenizer, begins=writes)
    if tokenizer.pad_token is None and writes:
        # Models that write come without one: the mask says what is padding, whatever its id.
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ModelError(
            Code.MODEL_TOKENIZER,
            f"the tokenizer in {checkpoint.folder} has no padding token: set pad_token and save it",
        )
    pad_within_vocabulary(tokenizer, checkpoint.config)
    return tokenizer


def _read(folder: Path) -> Any:
    """The tokenizer in `folder`, which does what its own file says with any transformers."""
    file = folder / TOKENIZER
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    except Exception:
        # Of a class that this transformers does not know: version 5 names others than 4 does.
        if not file.is_file():
            raise
        return PreTrainedTokenizerFast.from_pretrained(folder)
    if TRANSFORMERS >= 5 and file.is_file():
        # Version 5 makes the steps of some classes anew, from the vocabulary alone.
        tokenizer._tokenizer = _as_configured(file, folder / TOKENIZER_CONFIG)
    return tokenizer


def _as_configured(file: Path, config: Path) -> Tokenizer:
    """The tokenizer of a file, with BERT's own settings where the configuration has others."""
    described = json.loads(file.read_text("utf-8"))
    settings = json.loads(config.read_text("utf-8")) if config.is_file() else {}
    normalizer = described.get("normalizer") or {}
    if normalizer.get("type") == "BertNormalizer":
        for name, step in _BERT_STEPS.items():
            if isinstance(settings.get(name), bool):
                normalizer[step] = settings[name]
    return Tokenizer.from_str(json.dumps(described))


def tokenizer_for(tuned: Checkpoint, base: Checkpoint) -> Any:
    """The task's tokenizer, or the base's where it came without; raises DataError."""
    tokenizer = load_tokenizer(tuned) or load_tokenizer(base)
    if tokenizer is None:
        raise DataError(
            Code.DATA_TOKENIZER, "examples need a tokenizer, and neither model came with one"
        )
    return tokenizer


def max_tokens(checkpoint: Checkpoint, tokenizer: Any) -> int:
    """Longest sequence, special tokens included, that both tokenizer and model take."""
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or not longest >= 1:
        raise ModelError(
            Code.MODEL_TOKENIZER,
            f"the tokenizer in {checkpoint.folder} has model_max_length "
            f"{shown(repr(longest), 40)}: expected a whole number of 1 or more",
        )
    return int(min(longest, positions(checkpoint)))


def positions(checkpoint: Checkpoint) -> int:
    """Longest sequence that the model takes, whichever its tokenizer does."""
    config = checkpoint.config
    most = int(getattr(config, "max_position_embeddings", 512))
    if family_of(config).positions_after_padding:
        most -= int(config.pad_token_id) + 1
    return most
