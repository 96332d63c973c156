"""Reads how a sentence-transformers model makes one vector of a text, beside its weights.

After the transformer comes a pooling, and often a normalisation.
"""

from pathlib import Path
from typing import Any

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.sentence_folder import (
    SETTINGS,
    read_json,
    read_object,
    stages,
)
from osd_edge.exporters.models.sentence_prompts import sentence_prompts

# By the name of a mode, as version 6 of sentence-transformers writes it (`pooling_mode`); before
# that each mode had a switch.
_POOLINGS = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
}
_FIRST = "Transformer"
_VECTOR = "sentence_embedding"  # what a pooling makes, and a normalisation takes


def embedding_settings(folder: Path) -> tuple[str, bool]:
    """Pooling of the embedding model in `folder`, and whether its vectors have length 1.

    Raises ModelError `model.head` where the folder does not say, or says what a device cannot do.
    """
    listed = stages(folder)
    names = [str(stage["type"]).rpartition(".")[2] for stage in listed]
    if names not in ([_FIRST, "Pooling"], [_FIRST, "Pooling", "Normalize"]):
        raise ModelError(
            Code.MODEL_HEAD,
            f"{folder}: expected an embedding model of a transformer, a pooling and perhaps a "
            f"normalisation, found {shown(', '.join(names) or 'no stage', 200)}",
        )
    path = folder / str(listed[1]["path"]) / "config.json"
    settings = read_json(path)
    modes = _modes(settings)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{path}: expected a pooling of one mode, {', '.join(_POOLINGS)}; found "
            f"{shown(', '.join(modes) or 'none', 80)}",
        )
    if settings.get("include_prompt") is False and modes[0] != "lasttoken":
        _check_no_prompt(folder)
    if len(names) == 3:
        _check_normalize(folder / str(listed[2]["path"]) / "config.json")
    _check_whole(folder)
    return _POOLINGS[modes[0]], len(names) == 3


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


def _check_no_prompt(folder: Path) -> None:
    """Refuses a pooling that leaves out the tokens of a prompt, where every text has one."""
    if sentence_prompts(folder).default:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{folder}: its pooling leaves the default prompt's tokens out (include_prompt is "
            "false), which a bundle cannot say: remove default_prompt_name, or train it with "
            "include_prompt",
        )


def _check_normalize(path: Path) -> None:
    """Refuses a normalisation of anything but the vector; older releases wrote no settings."""
    settings = read_object(path) if path.is_file() else {}
    for name in ("module_input_name", "module_output_name"):
        if settings.get(name) not in (None, _VECTOR):
            raise ModelError(
                Code.MODEL_HEAD,
                f"{path}: expected a normalisation of {_VECTOR}, found {name} "
                f"{shown(repr(settings[name]), 60)}",
            )


def _check_whole(folder: Path) -> None:
    """Refuses vectors that are cut short after they were made."""
    path = folder / SETTINGS
    most = read_object(path).get("truncate_dim") if path.is_file() else None
    if most is not None:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{path}: truncate_dim is {shown(repr(most), 20)}, and a bundle gives whole vectors: "
            "remove it, and take as many of a vector's first numbers in the app",
        )
