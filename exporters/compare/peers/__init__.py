"""The comparison's methods, ours and those of others, each in its own honest best coding."""

from osd_edge.exporters.compare.peers.peer import Compressed, Peer, Restored
from osd_edge.exporters.compare.peers.registry import METHODS, find_methods
from osd_edge.exporters.compare.peers.source import Source

__all__ = ["METHODS", "Compressed", "Peer", "Restored", "Source", "find_methods"]
