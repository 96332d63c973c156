"""The layer that gives the logits of the next token: the embedding of tokens where both are tied.

It is no part of the backbone, no site, and not in the fingerprint.
"""

from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.families import Family


def logits_weight(checkpoint: Checkpoint, family: Family) -> str | None:
    """The tensor `[tokens, features]` that gives `checkpoint` its logits; None without one."""
    if family.lm_head is None:
        return None
    own = f"{family.lm_head}.weight"
    if own in checkpoint:
        return own
    words = getattr(checkpoint.config, "vocab_size", None)
    for name in checkpoint.backbone_names():
        if name.endswith(("embed_tokens.weight", "wte.weight")):
            return name if checkpoint.shape(name)[0] == words else None
    return None
