"""Finding the method that comparisons know by a name."""

from osd_edge.exporters.compare.peers.bundles import BundleFiles
from osd_edge.exporters.compare.peers.peer import Peer
from osd_edge.exporters.methods.registry import check_compared, compared


def find_peer(name: str) -> Peer:
    """The method called `name`; raises InputError `input.method`."""
    check_compared([name])
    entry, options = compared()[name]
    if entry.exports:
        return BundleFiles(name, entry, options)
    peer: Peer = entry.load()
    return peer
