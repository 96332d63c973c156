"""Starts of a LoRA that change the base's own weights before training.

ΔW then is a difference from weights that no file has: from the base less what the factors began
with (PiSSA, OLoRA, CorDA, LoRA-GA), or from a rounded one (LoftQ). Merged, the model is a
fine-tuned one like any other.
"""

from pathlib import Path

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.adapter_files import MERGE_FILES, MERGE_TRAINED

# PEFT makes the same base again from these when it loads the adapter; of the others it makes
# another (random decompositions), none (its own gradients are gone), or refuses to.
_MADE_AGAIN = ("pissa", "olora")
_MOVED_BASE = (*_MADE_AGAIN, "loftq", "corda", "lora_ga")


def check_start(folder: Path, start: str) -> None:
    """Refuse (`model.adapter-method`) an adapter that started by changing the base.

    `start` is its `init_lora_weights`. Others (gaussian, orthogonal, EVA, MiCA) leave the base be.
    """
    start = start.lower()
    if not start.startswith(_MOVED_BASE):
        return
    advice = MERGE_FILES if start in _MADE_AGAIN else MERGE_TRAINED
    raise ModelError(
        Code.MODEL_ADAPTER_METHOD,
        f"{folder} started by {shown(start, 40)}, which changes the base itself: {advice}",
    )
