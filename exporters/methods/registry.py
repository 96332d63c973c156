"""Every compression method by its name: the one table for exports, comparisons and commands.

To add a method, write its class (see `base`) in a file or folder of this room, and put a line into
METHODS. The table names where a class is, so that a command line can list the methods without
importing torch; a method is imported when it is used. Methods of others and controls, which make
files of their own for comparisons, keep the contract in `compare.peers.peer`.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osd_edge.errors import Code, InputError, shown
from osd_edge.exporters.methods.budget import VALUE_BITS
from osd_edge.exporters.methods.head_options import HeadOptions

_HERE = "osd_edge.exporters.methods"
_PEERS = "osd_edge.exporters.compare.peers"
_DENSE = frozenset({"values", "head", "sites"})
HEAD, PRODUCT = "head", "product"  # what a method may need of a task


@dataclass(frozen=True)
class MethodEntry:
    """A line of the table.

    `where` is the class, as MODULE:CLASS. `takes` are the fields of TaskOptions that only some
    methods take; a method with a default `budget` takes that too, and may have another one for
    tasks that generate text, `budget_written`. A method that `exports` makes task bundles and is
    offered by `export task`. Without a `delta` it takes models whose linear layers are the base's
    own; a `parallel` one does layers in the caller's executor. In comparisons a method stands under
    the names in `variants`, each with the options that it sets. One that `needs` a HEAD makes no
    sense for tasks that have none, one that needs a PRODUCT only for LoRAs.
    """

    name: str
    where: str
    takes: frozenset[str] = frozenset()
    budget: str | None = None
    budget_written: str | None = None
    exports: bool = False
    delta: bool = True
    parallel: bool = False
    needs: str = ""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def accepts(self, field: str) -> bool:
        """Says whether the method takes an option that only some do."""
        return field in self.takes or (field == "budget" and self.budget is not None)

    def load(self) -> Any:
        """Makes the object of the class, importing its module: a Method where it exports."""
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(module), name)()


def bundle_name(method: str, values: str) -> str:
    """Name in comparisons of a method: `osd` has the paper's fp32 values, `osd-int8` says so."""
    return method if values == "fp32" else f"{method}-{values}"


def _by_values(method: str) -> dict[str, Mapping[str, Any]]:
    return {
        bundle_name(method, values): {
            "values": values,
            "head": HeadOptions("int8" if values == "int8" else "fp16"),
        }
        for values in VALUE_BITS
    }


METHODS: dict[str, MethodEntry] = {
    entry.name: entry
    for entry in (
        MethodEntry(
            "osd-rd",
            f"{_HERE}.osd_rd.method:OsdRd",
            takes=frozenset(
                (
                    "keep",
                    "keep_by",
                    "trust_rows",
                    "refine",
                    "base_weights",
                    "sites",
                    "vectors",
                    "seed",
                )
            ),
            budget="16KiB",
            budget_written="64KiB",
            exports=True,
            parallel=True,
            variants={
                "osd-rd": {},
                "osd-rd-none": {"refine": "none"},
                "osd-rd-codes": {"refine": "codes"},
            },
        ),
        MethodEntry(
            "head",
            f"{_HERE}.head.method:HeadOnly",
            takes=frozenset(("base_weights", "seed")),
            exports=True,
            delta=False,
            needs=HEAD,
        ),
        MethodEntry(
            "truncsvd",
            f"{_HERE}.paper.method:TruncSvd",
            takes=_DENSE,
            budget="r=1",
            exports=True,
            variants=_by_values("truncsvd"),
        ),
        MethodEntry(
            "magtruncsvd",
            f"{_HERE}.paper.method:MagTruncSvd",
            takes=_DENSE | {"extra_rank"},
            budget="r=1",
            exports=True,
            variants=_by_values("magtruncsvd"),
        ),
        MethodEntry(
            "osd",
            f"{_HERE}.paper.method:Osd",
            takes=_DENSE | {"extra_rank"},
            budget="r=1",
            exports=True,
            variants=_by_values("osd"),
        ),
        MethodEntry("truncsvd-int4", f"{_PEERS}.int4:TruncSvdInt4"),
        MethodEntry("lora", f"{_PEERS}.lora:LoraExtraction"),
        MethodEntry("lora-own", f"{_PEERS}.own_lora:OwnLora", needs=PRODUCT),
        MethodEntry("lora-own-int8", f"{_PEERS}.own_lora:OwnLoraInt8", needs=PRODUCT),
        MethodEntry("lora-own-int4", f"{_PEERS}.own_lora:OwnLoraInt4", needs=PRODUCT),
        MethodEntry("loraquant-3", f"{_PEERS}.loraquant:LoraQuant3", needs=PRODUCT),
        MethodEntry("loraquant-2", f"{_PEERS}.loraquant:LoraQuant2", needs=PRODUCT),
        MethodEntry("bitdelta", f"{_PEERS}.bitdelta:BitDelta"),
        MethodEntry("axis-sign", f"{_PEERS}.axis_sign:AxisSign"),
        MethodEntry("compeft", f"{_PEERS}.compeft:ComPeft"),
        MethodEntry("zstd", f"{_PEERS}.zstd:ZstdDelta"),
        MethodEntry("control-zero", f"{_PEERS}.controls:ZeroDelta"),
        MethodEntry("control-random", f"{_PEERS}.controls:PermutedCodes"),
        MethodEntry("control-random-scales", f"{_PEERS}.controls:PermutedScales"),
        MethodEntry("control-truncsvd", f"{_PEERS}.controls:RefinedTruncSvd"),
        MethodEntry("control-lora", f"{_PEERS}.controls:RefinedLora"),
    )
}


def exported() -> tuple[str, ...]:
    """Names of the methods that make task bundles, in the order of the table."""
    return tuple(name for name, entry in METHODS.items() if entry.exports)


def compared() -> dict[str, tuple[MethodEntry, Mapping[str, Any]]]:
    """Every name that comparisons know, with its method and the options that it sets."""
    return {
        name: (entry, options)
        for entry in METHODS.values()
        for name, options in (entry.variants or {entry.name: {}}).items()
    }


def check_compared(names: Sequence[str]) -> None:
    """Raises InputError `input.method` where comparisons do not know one of `names`."""
    known = compared()
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise InputError(
                Code.INPUT_METHOD,
                f"expected methods among {', '.join(known)}, found {shown(str(name), 40)!r}",
            )
