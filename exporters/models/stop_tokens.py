"""The tokens that end an answer, as a model's own files name them."""

import json
from pathlib import Path
from typing import Any

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.unreadable import first_line

# Of several settings the first that names a token counts, as in transformers' own generation.
_FILES = ("generation_config.json", "config.json")
_SETTING = "eos_token_id"


def stop_ids(checkpoint: Checkpoint, tokenizer: Any, vocabulary: int) -> tuple[int, ...]:
    """Ids of the tokens that end an answer, each below `vocabulary`, without doubles.

    `tokenizer` is the checkpoint's, or None. Raises ModelError `model.stop` where no file names a
    token, or one names what is no token; `model.config` for a file that is no JSON object.
    """
    for name in _FILES:
        given = _settings(checkpoint.folder / name).get(_SETTING)
        if given is not None:
            return _checked(checkpoint.folder / name, given, vocabulary)
    own = None if tokenizer is None else tokenizer.eos_token_id
    if own is None:
        raise ModelError(
            Code.MODEL_STOP,
            f"{checkpoint.folder} names no token that ends an answer: set {_SETTING} in "
            f"{_FILES[0]}, to one or several",
        )
    return _checked(checkpoint.folder / "tokenizer_config.json", own, vocabulary)


def ending_token(stops: tuple[int, ...], tokenizer: Any) -> int:
    """The one of several stop tokens that a model was taught: its tokenizer's own, if it is one."""
    own = tokenizer.eos_token_id
    return int(own) if own in stops else stops[0]


def _settings(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(Code.MODEL_CONFIG, f"cannot read {file}: {first_line(error)}") from error
    if not isinstance(fields, dict):
        raise ModelError(Code.MODEL_CONFIG, f"{file}: expected a JSON object")
    return fields


def _checked(file: Path, given: Any, vocabulary: int) -> tuple[int, ...]:
    ids = given if isinstance(given, list) else [given]
    if not ids or not all(type(one) is int and 0 <= one < vocabulary for one in ids):
        raise ModelError(
            Code.MODEL_STOP,
            f"{file} has {_SETTING} {shown(repr(given), 60)}: expected tokens from 0 to "
            f"{vocabulary - 1}, one or several",
        )
    return tuple(dict.fromkeys(ids))
