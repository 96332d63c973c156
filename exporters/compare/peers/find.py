"""Finding the method that comparisons know by a name, and whether it makes sense for a task."""

from osd_edge.exporters.compare.peers.bundles import BundleFiles
from osd_edge.exporters.compare.peers.peer import Peer
from osd_edge.exporters.methods.registry import HEAD, PRODUCT, check_compared, compared
from osd_edge.exporters.models.fine_tuned import FineTuned


def find_peer(name: str) -> Peer:
    """The method called `name`; raises InputError `input.method`."""
    check_compared([name])
    entry, options = compared()[name]
    if entry.exports:
        return BundleFiles(name, entry, options)
    peer: Peer = entry.load()
    return peer


def why_unsuited(method: str, models: FineTuned) -> str | None:
    """The reason, in words, why a method makes no sense for a task; None where it does."""
    needs = compared()[method][0].needs
    if needs == HEAD and models.writes:
        return "it is a head over the unchanged base, and a task that generates text has no head"
    if needs == PRODUCT and not _is_product(models):
        return "it stores the factors of a LoRA, and the fine-tuned model is none"
    return None


def _is_product(models: FineTuned) -> bool:
    """Says whether all that changes in the linear layers is known as products of two factors."""
    weights = [f"{layer.name}.weight" for layer in models.backbone.layers]
    changed = [name for name in weights if name in models.tuned]
    changed = [name for name in changed if not models.tuned.is_base_own(name)]
    return all(models.tuned.low_rank(name) is not None for name in changed)
