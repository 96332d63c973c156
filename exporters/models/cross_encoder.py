"""Reads what a cross-encoder of sentence-transformers makes of its logits.

Version 6 names it beside the stages, versions 4 and 5 under `sentence_transformers` in the model's
configuration, and those before as `sbert_ce_default_activation_function`.
"""

from transformers import PretrainedConfig

from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.sentence_folder import SETTINGS, read_object

_SIGMOID = ".Sigmoid"
_SINCE_4 = "sentence_transformers"
_BEFORE_4 = "sbert_ce_default_activation_function"


def activation(tuned: Checkpoint) -> str | None:
    """The full name of what a cross-encoder's logits go through; None where none is named.

    Raises ModelError `model.head` where its settings are malformed.
    """
    path = tuned.home / SETTINGS
    settings = read_object(path) if path.is_file() else {}
    of_config = getattr(tuned.config, _SINCE_4, None)
    of_config = of_config if isinstance(of_config, dict) else {}
    named = (
        settings.get("activation_fn")
        or of_config.get("activation_fn")
        or getattr(tuned.config, _BEFORE_4, None)
    )
    return named if isinstance(named, str) else None


def forget_activation(config: PretrainedConfig) -> None:
    """Takes out of a base's configuration what its own head was trained for."""
    for name in (_SINCE_4, _BEFORE_4):
        if hasattr(config, name):
            delattr(config, name)


def gives_chances(tuned: Checkpoint) -> bool:
    """Says whether each of a cross-encoder's outputs is a chance by itself."""
    return (activation(tuned) or "").endswith(_SIGMOID)
