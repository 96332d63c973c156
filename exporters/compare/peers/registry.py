"""Methods by the name that `osd-edge compare --methods` knows. A new one is a line here."""

from collections.abc import Mapping, Sequence

from osd_edge.errors import Code, InputError, shown
from osd_edge.exporters.compare.peers.axis_sign import AxisSign
from osd_edge.exporters.compare.peers.bitdelta import BitDelta
from osd_edge.exporters.compare.peers.bundles import BundleMethod
from osd_edge.exporters.compare.peers.compeft import ComPeft
from osd_edge.exporters.compare.peers.controls import CONTROLS
from osd_edge.exporters.compare.peers.head_only import HeadOnly
from osd_edge.exporters.compare.peers.int4 import TruncSvdInt4
from osd_edge.exporters.compare.peers.lora import LoraExtraction
from osd_edge.exporters.compare.peers.peer import Peer
from osd_edge.exporters.compare.peers.zstd import ZstdDelta
from osd_edge.exporters.methods.budget import VALUE_BITS


def bundle_name(method: str, values: str) -> str:
    """Name here of a bundle method: `osd` has the paper's fp32 values, `osd-int8` says so."""
    return method if values == "fp32" else f"{method}-{values}"


_BUNDLES = tuple(
    BundleMethod(
        bundle_name(method, values), method, values, head="int8" if values == "int8" else "fp16"
    )
    for method in ("truncsvd", "magtruncsvd", "osd")
    for values in VALUE_BITS
)

_CODED = (
    BundleMethod("osd-rd", "osd-rd"),
    BundleMethod("osd-rd-none", "osd-rd", options={"refine": "none"}),
    BundleMethod("osd-rd-codes", "osd-rd", options={"refine": "codes"}),
)

_ALL: tuple[Peer, ...] = (
    *_CODED,
    HeadOnly(),
    *_BUNDLES,
    TruncSvdInt4(),
    LoraExtraction(),
    BitDelta(),
    AxisSign(),
    ComPeft(),
    ZstdDelta(),
    *CONTROLS,
)

METHODS: Mapping[str, Peer] = {method.name: method for method in _ALL}


def find_methods(names: Sequence[str]) -> tuple[Peer, ...]:
    """The methods of these names, each once; raises InputError `input.method`."""
    for name in names:
        if name not in METHODS:
            raise InputError(
                Code.INPUT_METHOD,
                f"expected methods among {', '.join(METHODS)}, found {shown(name, 40)!r}",
            )
    return tuple(METHODS[name] for name in dict.fromkeys(names))
