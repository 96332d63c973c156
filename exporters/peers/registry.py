"""Methods by the name that `osd-edge compare --methods` knows. A new one is a line here."""

from collections.abc import Mapping, Sequence

from osd_edge.errors import InputError, shown
from osd_edge.exporters.peers.axis_sign import AxisSign
from osd_edge.exporters.peers.bitdelta import BitDelta
from osd_edge.exporters.peers.bundles import BundleMethod
from osd_edge.exporters.peers.compeft import ComPeft
from osd_edge.exporters.peers.int4 import TruncSvdInt4
from osd_edge.exporters.peers.lora import LoraExtraction
from osd_edge.exporters.peers.peer import Peer
from osd_edge.exporters.peers.zstd import ZstdDelta

_ALL: tuple[Peer, ...] = (
    BundleMethod("truncsvd", "truncsvd"),
    BundleMethod("truncsvd-fp16", "truncsvd", "fp16"),
    BundleMethod("truncsvd-int8", "truncsvd", "int8", head="int8"),
    TruncSvdInt4(),
    BundleMethod("magtruncsvd", "magtruncsvd"),
    BundleMethod("magtruncsvd-int8", "magtruncsvd", "int8", head="int8"),
    BundleMethod("osd", "osd"),
    BundleMethod("osd-int8", "osd", "int8", head="int8"),
    LoraExtraction(),
    BitDelta(),
    AxisSign(),
    ComPeft(),
    ZstdDelta(),
)

METHODS: Mapping[str, Peer] = {method.name: method for method in _ALL}


def find_methods(names: Sequence[str]) -> tuple[Peer, ...]:
    """The methods of these names, each once; raises InputError `input.method`."""
    for name in names:
        if name not in METHODS:
            raise InputError(
                "input.method",
                f"expected methods among {', '.join(METHODS)}, found {shown(name, 40)!r}",
            )
    return tuple(METHODS[name] for name in dict.fromkeys(names))
