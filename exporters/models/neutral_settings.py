"""Settings of a configuration that change how torch computes and gives results, and not which.

They are from training or from somebody's machine: attention in a package that is not installed
here, layers in parts of so many tokens, more outputs. A graph is traced without.
"""

from pathlib import Path
from typing import Any

from osd_edge.errors import Code, ModelError, shown

# The value of each that leaves transformers to its plain way.
_NEUTRAL: dict[str, Any] = {
    "chunk_size_feed_forward": 0,
    "gradient_checkpointing": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "pretraining_tp": 1,
    "reference_compile": False,
    "return_dict": True,
    "torchscript": False,
}


def make_neutral(folder: Path, config: Any) -> None:
    """Set what does not change results to its plain value in `config`, which is of `folder`.

    Raises ModelError `model.config` where heads of attention were pruned, which does change them.
    """
    pruned = getattr(config, "pruned_heads", None)
    if pruned:
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{folder}: config.json has pruned_heads {shown(str(pruned), 60)}: layers that differ "
            "in their heads of attention are not exported",
        )
    for name, value in _NEUTRAL.items():
        if hasattr(config, name):
            setattr(config, name, value)
    config._attn_implementation = None  # the usual one of the installed version
