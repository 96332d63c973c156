"""Reads how a sentence-transformers model makes one vector of a text, beside its weights.

`modules.json` lists its stages: the transformer, a pooling, and often a normalisation.
"""

import json
from pathlib import Path
from typing import Any

from osd_edge.errors import Code, ModelError, shown

_STAGES = "modules.json"
# By the name of a mode, as version 6 of sentence-transformers writes it (`pooling_mode`); before
# that each mode had a switch.
_POOLINGS = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
}


def is_embedding_model(folder: Path) -> bool:
    """Says whether `folder` is a model of sentence-transformers, by its list of stages."""
    return (folder / _STAGES).is_file()


def embedding_settings(folder: Path) -> tuple[str, bool]:
    """Pooling of the embedding model in `folder`, and whether its vectors have length 1.

    Raises ModelError `model.head` where the folder does not say, or has another stage.
    """
    listed = _stages(folder)
    stages = [str(stage["type"]).rpartition(".")[2] for stage in listed]
    if stages[1:] not in (["Pooling"], ["Pooling", "Normalize"]):
        raise ModelError(
            Code.MODEL_HEAD,
            f"{folder}: expected an embedding model of a transformer, a pooling and perhaps a "
            f"normalisation, found {', '.join(stages)}",
        )
    path = folder / str(listed[1]["path"]) / "config.json"
    modes = _modes(_read(path))
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{path}: expected a pooling of one mode, {', '.join(_POOLINGS)}; found "
            f"{shown(', '.join(modes) or 'none', 80)}",
        )
    return _POOLINGS[modes[0]], stages[-1] == "Normalize"


def _modes(settings: Any) -> list[str]:
    """The modes of pooling that are on, in the settings of any version."""
    if not isinstance(settings, dict):
        return []
    named = settings.get("pooling_mode")
    if named is not None:
        return [str(mode) for mode in (named if isinstance(named, list) else [named])]
    return [
        str(_SWITCHES.get(name, name))
        for name, on in settings.items()
        if name.startswith("pooling_mode") and on
    ]


def _stages(folder: Path) -> list[dict[str, Any]]:
    path = folder / _STAGES
    stages = _read(path)
    if not isinstance(stages, list) or not all(
        isinstance(stage, dict) and {"type", "path"} <= set(stage) for stage in stages
    ):
        raise ModelError(Code.MODEL_HEAD, f"{path} is malformed")
    return stages


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{path.parent} has no head for a task, and no {path.name} that would make it an "
            "embedding model of sentence-transformers",
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(Code.MODEL_HEAD, f"{path} is not JSON") from error
