"""A task bundle: everything that a task adds to its base, in one file. Format version 1.

`docs/bundle-format.md` specifies the file to the bit; `writer` writes it, `reader` reads and
checks it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from osd_edge import __version__
from osd_edge.errors import Code, InputError
from osd_edge.formats.bundle.coded import CodedLayer, CodedSite, decoded_part
from osd_edge.formats.bundle.integers import IntegerLayer, IntegerSite
from osd_edge.formats.bundle.plain import PlainLayer, PlainSite
from osd_edge.formats.heads import Head

FORMAT_VERSION = 1
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
CODED = "coded"  # small integers near their entropy, deltas and head alike
MAX_DIMENSION = 65_535  # n, d and k are stored in 16 bits


StoredSite = PlainSite | IntegerSite | CodedSite
StoredLayer = PlainLayer | IntegerLayer | CodedLayer


@dataclass(frozen=True)
class StoredHead:
    """A head as stored; see `osd_edge.formats.heads` for what its fields mean."""

    kind: str
    pooling: str
    layers: tuple[StoredLayer, ...]
    normalize: bool = False

    def decode(self) -> Head:
        """The head with float32 values."""
        layers = tuple(layer.decode() for layer in self.layers)
        return Head(self.kind, self.pooling, layers, self.normalize)


@dataclass(frozen=True)
class Bundle:
    """A task bundle's content, factors still coded.

    `base` is the fingerprint of the base weights; `values` the type of the delta's values;
    `site_count` the length of the base's site table; `method` and `scores` are for people.

    Where `values` is `coded`, all sites and head layers are integers: given as `IntegerSite` and
    `IntegerLayer`, read as `CodedSite` and `CodedLayer`.
    """

    task: str
    task_version: str
    labels: tuple[str, ...]
    base: str
    site_count: int
    values: str
    sites: tuple[StoredSite, ...]
    head: StoredHead
    method: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    tool: str = f"osd-edge {__version__}"

    def decoded(self) -> "Bundle":
        """The same with integers in the place of what is coded, which is decoded in one go."""
        coded = (*self.head.layers, *self.sites)
        part = next((x.part for x in coded if isinstance(x, (CodedLayer, CodedSite))), None)
        if part is None:
            return self
        sites, layers = decoded_part(part)

        def ready(x: Any, those: Sequence[Any]) -> Any:
            return those[x.index] if getattr(x, "part", None) is part else x

        head = replace(self.head, layers=tuple(ready(x, layers) for x in self.head.layers))
        return replace(self, sites=tuple(ready(x, sites) for x in self.sites), head=head)


def task_name(text: str) -> str:
    """`text` if it may name a task; raises InputError `input.task-name`."""
    if not TASK_NAME.fullmatch(text):
        raise InputError(
            Code.INPUT_TASK_NAME,
            f"expected a task name of up to 64 letters, digits, '.', '_' or '-', found {text!r}",
        )
    return text
