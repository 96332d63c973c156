"""The tokenizer of a checkpoint."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from osd_edge.errors import Code, DataError, ModelError
from osd_edge.exporters.models.checkpoint import Checkpoint, first_line
from osd_edge.exporters.models.families import family_of
from osd_edge.formats.package.manifest import TOKENIZER

_CONFIG = "tokenizer_config.json"


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's fast tokenizer, None where the folder has no tokenizer files.

    A checkpoint's own code is never run. Raises ModelError `model.tokenizer`.
    """
    has_files = any(
        (checkpoint.folder / name).is_file()
        for name in (TOKENIZER, _CONFIG, "vocab.txt", "vocab.json")
    )
    if not has_files:
        return None
    try:
        tokenizer = _read(checkpoint.folder)
    except Exception as error:  # malformed files end in whatever the libraries stumble over
        why = (
            "it brings code of its own (auto_map), which is never run"
            if _has_own_code(checkpoint.folder / _CONFIG)
            else first_line(error)
        )
        raise ModelError(
            Code.MODEL_TOKENIZER,
            f"cannot read the tokenizer in {checkpoint.folder}: {why}; save it again with "
            "AutoTokenizer's save_pretrained",
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            Code.MODEL_TOKENIZER, f"{checkpoint.folder} has no fast tokenizer (tokenizer.json)"
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(
            Code.MODEL_TOKENIZER,
            f"the tokenizer in {checkpoint.folder} has no padding token: set pad_token and save it",
        )
    return tokenizer


def _read(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    except Exception:
        # Of a class that this transformers does not know: version 5 names others than 4 does. All
        # that a fast tokenizer does is in its own file.
        if not (folder / TOKENIZER).is_file():
            raise
        return PreTrainedTokenizerFast.from_pretrained(folder)


def _has_own_code(config: Path) -> bool:
    try:
        return b'"auto_map"' in config.read_bytes()
    except OSError:
        return False


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
    config = checkpoint.config
    positions = int(getattr(config, "max_position_embeddings", 512))
    if family_of(config).positions_after_padding:
        positions -= int(config.pad_token_id) + 1
    return min(int(tokenizer.model_max_length), positions)
