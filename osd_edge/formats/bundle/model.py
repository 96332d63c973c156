"""A task bundle: everything a task adds to its base, in one file. Format version 1.

`docs/bundle-format.md` specifies the file to the bit; this module writes it, `bundle_reader`
reads and checks it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge import __version__
from osd_edge.errors import Code, InputError
from osd_edge.formats.bundle.coded import CodedLayer, CodedSite, decoded_part, encode_part
from osd_edge.formats.bundle.integers import IntegerLayer, IntegerSite
from osd_edge.formats.bundle.plain_factor import PlainFactor
from osd_edge.formats.container import pack
from osd_edge.formats.heads import Head, HeadLayer
from osd_edge.formats.kinds import KINDS

Array = NDArray[Any]

FORMAT_VERSION = 1
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
VALUE_TYPES: Mapping[str, np.dtype[Any]] = {
    "fp32": np.dtype("<f4"),
    "fp16": np.dtype("<f2"),
    "int8": np.dtype("i1"),
}
CODED = "coded"  # small integers near their entropy, deltas and head alike
MAX_DIMENSION = 65_535  # n, d and k are stored in 16 bits


@dataclass(frozen=True)
class Matrix:
    """Values of one matrix as stored: fp32, fp16, or int8 with one fp32 scale for each row."""

    values: Array
    scale: NDArray[np.float32] | None = None

    def decoded(self) -> NDArray[np.float32]:
        """The values as float32, scales applied."""
        values: NDArray[np.float32] = self.values.astype(np.float32)
        return values if self.scale is None else values * self.scale[:, None]


@dataclass(frozen=True)
class PlainSite:
    """Coded factors of one site: ΔW = Σ_k scale_k u_k v_kᵀ, `[n, d]`.

    `site` is the place in the base's site table; `scale` `[k]` goes with int8 values only and
    is applied to `u`.
    """

    site: int
    u: PlainFactor
    v: PlainFactor
    scale: NDArray[np.float32] | None = None

    @property
    def n(self) -> int:
        """Outputs of the layer."""
        return self.u.width

    @property
    def d(self) -> int:
        """Inputs of the layer."""
        return self.v.width

    @property
    def k(self) -> int:
        """Rank of the factors."""
        return self.u.k

    def decode(
        self, out: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """U as `[k, n]`, scales applied, and V as `[k, d]`; U in `out` (zeros) where given."""
        u = self.u.decode(out)
        if self.scale is not None:
            u *= self.scale[:, None]
        return u, self.v.decode()

    def write(self, u: NDArray[np.float32], v: NDArray[np.float32]) -> None:
        """Decode to `u` `[k, n]` (zeros) and, transposed, to `v` `[d, k]`."""
        v[:] = self.decode(u)[1].T


@dataclass(frozen=True)
class PlainLayer:
    """One linear layer of a head, as stored: `weight` `[n, d]`, or `u` `[k, n]` and `v` `[k, d]`.

    int8 scales: one for each row of `weight`; one for each of the k columns, kept with `u`.
    """

    activation: str | None
    bias: NDArray[np.float32] | None
    weight: Matrix | None = None
    u: Matrix | None = None
    v: Matrix | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs n and inputs d of the layer."""
        if self.weight is not None:
            return int(self.weight.values.shape[0]), int(self.weight.values.shape[1])
        assert self.u is not None and self.v is not None
        return int(self.u.values.shape[1]), int(self.v.values.shape[1])

    @property
    def rank(self) -> int:
        """Rank of the factors, 0 for a full matrix."""
        return 0 if self.u is None else int(self.u.values.shape[0])

    def decode(self) -> HeadLayer:
        """The layer with float32 values."""
        n, d = self.shape
        weight, u, v = (
            None if matrix is None else matrix.decoded() for matrix in (self.weight, self.u, self.v)
        )
        return HeadLayer(n, d, self.activation, self.bias, weight=weight, u=u, v=v)


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


def write_bundle(bundle: Bundle) -> bytes:
    """The bytes of `bundle` as a file; equal bundles give equal bytes."""
    task_name(bundle.task)
    tensors = _tensors(bundle)
    metadata = {
        "osd.format": str(FORMAT_VERSION),
        "osd.task": bundle.task,
        "osd.task_version": bundle.task_version,
        "osd.base": bundle.base,
        "osd.site_count": str(bundle.site_count),
        "osd.labels": _json(bundle.labels),
        "osd.head": _json(_head_description(bundle.head)),
        "info.tool": bundle.tool,
    }
    if bundle.method:
        metadata["info.method"] = _json(bundle.method)
    if bundle.scores:
        metadata["info.scores"] = _json(bundle.scores)
    return pack(tensors, metadata)


def _tensors(bundle: Bundle) -> dict[str, Array]:
    if bundle.values == CODED:
        sites = [site for site in bundle.sites if not isinstance(site, PlainSite)]
        layers = [layer for layer in bundle.head.layers if not isinstance(layer, PlainLayer)]
        if (len(sites), len(layers)) != (len(bundle.sites), len(bundle.head.layers)):
            raise ValueError("a coded bundle has integers alone")
        return {"osd.coded": np.frombuffer(encode_part(sites, layers), np.uint8)}
    deltas = [site for site in bundle.sites if isinstance(site, PlainSite)]
    full = [layer for layer in bundle.head.layers if isinstance(layer, PlainLayer)]
    if (len(deltas), len(full)) != (len(bundle.sites), len(bundle.head.layers)):
        raise ValueError(f"integers in a bundle of {bundle.values} values")
    return _delta_tensors(bundle.values, deltas) | _head_tensors(full)


def _delta_tensors(values: str, sites: Sequence[PlainSite]) -> dict[str, Array]:
    factors = [factor for site in sites for factor in (site.u, site.v)]
    dtype = VALUE_TYPES[values]
    table = np.array([[s.site, s.n, s.d, s.k] for s in sites], np.uint16).reshape(-1, 4)
    tensors: dict[str, Array] = {
        "osd.sites": table,
        "osd.values": np.concatenate([np.zeros(0, dtype), *(f.values for f in factors)]),
    }
    if any(f.count != f.slots for f in factors):
        tensors["osd.counts"] = np.array([f.count for f in factors], np.uint32).reshape(-1, 2)
        tensors["osd.positions"] = np.concatenate([f.where for f in factors])
    if values == "int8":
        scales = [s.scale for s in sites if s.scale is not None]
        tensors["osd.scales"] = np.concatenate([np.zeros(0, np.float32), *scales])
    return tensors


def _head_tensors(layers: Sequence[PlainLayer]) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for i, layer in enumerate(layers):
        for part, matrix in (("weight", layer.weight), ("u", layer.u), ("v", layer.v)):
            if matrix is not None:
                tensors[f"osd.head.{i}.{part}"] = matrix.values
                if matrix.scale is not None:
                    tensors[f"osd.head.{i}.scale"] = matrix.scale
        if layer.bias is not None:
            tensors[f"osd.head.{i}.bias"] = layer.bias
    return tensors


def _head_description(head: StoredHead) -> dict[str, object]:
    layers = [
        {"shape": layer.shape, "rank": layer.rank, "activation": layer.activation}
        for layer in head.layers
    ]
    described: dict[str, object] = {"kind": head.kind, "pooling": head.pooling, "layers": layers}
    if KINDS[head.kind].vector:
        described["normalize"] = head.normalize
    return described


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
