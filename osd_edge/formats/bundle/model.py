"""A task bundle: everything that a task adds to its base, in one file. Format version 1.

`docs/bundle-format.md` specifies the file to the bit; `writer` writes it, `reader` reads and
checks it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from osd_edge import __version__
from osd_edge.errors import BundleError, Code
from osd_edge.formats.bundle.coded import CodedLayer, CodedSite, decoded_part
from osd_edge.formats.bundle.integers import IntegerLayer, IntegerSite
from osd_edge.formats.bundle.plain import PlainLayer, PlainSite
from osd_edge.formats.bundle.probe import Probe
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.bundle.vectors import VectorDelta
from osd_edge.formats.heads import Head

FORMAT_VERSION = 1
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_SEQUENCE = re.compile(r"[1-9][0-9]{0,14}")  # a whole number that a double holds
CODED = "coded"  # small integers near their entropy, deltas and head alike


def check_sequence(text: str) -> None:
    """Refuses (`bundle.key-value`) what is no `osd.sequence`."""
    if not _SEQUENCE.fullmatch(text):
        raise BundleError(
            Code.BUNDLE_KEY_VALUE,
            f"osd.sequence is {text[:20]!r}, expected a number of up to 15 digits above 0",
        )


StoredSite = PlainSite | IntegerSite | CodedSite
StoredLayer = PlainLayer | IntegerLayer | CodedLayer


@dataclass(frozen=True)
class StoredHead:
    """A head as a bundle stores it; `osd_edge.formats.heads.Head` explains the fields."""

    kind: str
    pooling: str
    layers: tuple[StoredLayer, ...]
    normalize: bool = False

    def described(self) -> str:
        """Describes the head in a line, for example `pooler → linear [6, 384] → labels`."""
        parts = [self.pooling]
        for layer in self.layers:
            n, d = layer.shape
            rank = f" of rank {layer.rank}" if layer.rank else ""
            parts.append(f"linear [{n}, {d}]{rank}")
            if layer.activation:
                parts.append(layer.activation)
        return " → ".join([*parts, self.kind])

    def decode(self) -> Head:
        """Decodes all layers to float32."""
        layers = tuple(layer.decode() for layer in self.layers)
        return Head(self.kind, self.pooling, layers, self.normalize)


@dataclass(frozen=True)
class Bundle:
    """A task bundle's content: all that a task adds to its base, as the file stores it.

    `read_bundle` and the exporters make one; `dataclasses.replace` gives it other fields.

    Attributes:
        task: The task's name, which a session calls it by.
        task_version: The version that whoever exported it gave.
        labels: Names of the answers; empty for embeddings.
        base: Fingerprint of the weights it was made for, 64 hex digits.
        site_count: Number of linear layers in the base's site table.
        values: How values are stored: `fp32`, `fp16`, `int8` or `coded`.
        sites: The changed layers, by ascending site index. Each has its index `site`, outputs
            `n`, inputs `d`, rank `k`, and `decode()`, which gives `u` `[k, n]` and `v` `[k, d]` in
            float32: the layer's delta is uᵀ v, `[n, d]`. Where `values` is `coded`, an exporter
            gives integers, and a reader keeps sites coded until they are decoded.
        head: Pooling, linear layers and kind of answer; its `decode()` gives float32.
        method: How it was made, for people.
        scores: What it scored where it was made, for people.
        tool: The program that wrote it.
        sequence: Orders the files of one task: of two, the one with the higher number is newer.
        signature: The key's id and the signature, 144 hex digits; empty without one. It holds for
            the file it was made for, no other.
        text: How the task's texts become tokens, where that is not as the base has it.
        probe: Inputs with expected answers, or None.
        vectors: The changes of the base's biases and norms, by ascending index.

    >>> from pathlib import Path
    >>> from osd_edge import read_bundle_file
    >>> bundle = read_bundle_file(Path("colours.osd.safetensors"))
    >>> bundle.task, bundle.labels, bundle.values, len(bundle.sites)
    ('coded', ('red', 'green', 'blue'), 'coded', 13)
    >>> u, v = bundle.sites[0].decode()
    >>> (u.T @ v).shape
    (32, 32)
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
    sequence: int = 0
    signature: str = ""
    text: TaskText | None = None
    probe: Probe | None = None
    vectors: tuple[VectorDelta, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Gives the bundle's facts as plain data, without its numbers.

        Returns:
            What `osd-edge inspect --json` shows, but for counts and sizes in bytes.

        Example:
            >>> from osd_edge import read_bundle_file
            >>> read_bundle_file("colours.osd.safetensors").as_dict()["head"]
            'pooler → linear [3, 32] → labels'
        """
        sites = [{"site": s.site, "n": s.n, "d": s.d, "rank": s.k} for s in self.sites]
        return {
            "task": self.task,
            "task_version": self.task_version,
            "sequence": self.sequence,
            "signed_by": self.signature[:16] or None,
            "tool": self.tool,
            "base": self.base,
            "labels": list(self.labels),
            "head": self.head.described(),
            "method": dict(self.method),
            "scores": dict(self.scores),
            "text": None if self.text is None else self.text.described(),
            "probe": None if self.probe is None else self.probe.described(),
            "vectors": [{"vector": each.vector, "n": each.codes.size} for each in self.vectors],
            "values": self.values,
            "site_count": self.site_count,
            "sites": sites,
        }

    def decoded(self) -> "Bundle":
        """Gives this bundle with all that is coded as integers, decoded in one go."""
        coded = (*self.head.layers, *self.sites)
        part = next((x.part for x in coded if isinstance(x, (CodedLayer, CodedSite))), None)
        if part is None:
            return self
        sites, layers = decoded_part(part)

        def ready(x: Any, those: Sequence[Any]) -> Any:
            return those[x.index] if getattr(x, "part", None) is part else x

        head = replace(self.head, layers=tuple(ready(x, layers) for x in self.head.layers))
        return replace(self, sites=tuple(ready(x, sites) for x in self.sites), head=head)
