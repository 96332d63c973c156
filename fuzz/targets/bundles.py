"""Reads bundles, decodes them, and compares them with a base."""

import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.limits import most_slots
from fuzz.mutators.bundles import mutate_bundle, mutate_bundle_head
from fuzz.outcome import ACCEPTED, Fault, Observed
from fuzz.targets import seeds
from fuzz.targets.target import Reader, Target
from osd_edge.errors import BundleError, TaskError
from osd_edge.formats.bundle.coded import forget_decoded
from osd_edge.formats.bundle.model import Bundle, StoredSite
from osd_edge.formats.bundle.reader import read_bundle, refusals_of, stored_kind, stored_labels
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.heads import Floats, Head, apply_head
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.manifest_reader import parse_manifest
from osd_edge.formats.package.vectors import Vector

_FILE = Path("mutant.osd.safetensors")
_LONG = TaskText(prompt="a " * 2500)  # which is read, and not run
_OTHER = Vector("other", 8, "changes")
_MOST_DENSE = 1 << 16  # elements of a layer that is multiplied out


def opened(folder: Path) -> Reader:
    """Gives what reads one bundle, decodes it and compares it with the vectors' base."""
    manifest = parse_manifest(seeds.base_manifest())

    def run(data: bytes) -> Observed:
        try:
            with refusals_of(_FILE):
                bundle = read_bundle(data)
            bundle.as_dict()  # which describes all that is in it
            slots = _slots(bundle)
            if slots > most_slots(len(data)):
                raise Fault("more slots than a file may hold", f"{slots} in {len(data)} bytes")
            decoded = _decoded(bundle)
            if (stored_labels(data), stored_kind(data)) != (bundle.labels, bundle.head.kind):
                raise Fault("labels or kind differ where they are read alone")
        finally:
            forget_decoded()
        try:
            check_fits(bundle, manifest)
            fits = ACCEPTED
        except BundleError as error:
            fits = str(error.code)
        except TaskError:
            fits = ACCEPTED  # the base has it all; what the session lacks is its own matter
        for task, base in (
            (bundle, replace(manifest, vectors=_vectors_of(bundle))),
            (bundle, replace(manifest, vectors=(_OTHER,))),
            (replace(bundle, text=_LONG), manifest),
        ):
            with suppress(BundleError, TaskError):
                check_fits(task, base)
        return Observed(ACCEPTED, _trail(bundle, fits), _facts(bundle, fits, decoded))

    return run


def _vectors_of(bundle: Bundle) -> tuple[Vector, ...]:
    """Vectors of a base, of which those of the bundle are some."""
    sizes = {each.vector: each.codes.size for each in bundle.vectors}
    found = [_OTHER] * (max(sizes, default=0) + 1)
    for index, size in sizes.items():
        found[index] = Vector(str(index), size, "changes")
    return tuple(found)


def _slots(bundle: Bundle) -> int:
    slots = sum(site.k * (site.n + site.d) for site in bundle.sites)
    for layer in bundle.head.layers:
        n, d = layer.shape
        slots += layer.rank * (n + d) or n * d
    return slots + sum(each.codes.size for each in bundle.vectors)


def _decoded(bundle: Bundle) -> list[Any]:
    """Decodes all that is in it, as hashes: sites, then the head's layers."""
    integers = bundle.decoded()
    found: list[Any] = []
    for site in integers.sites:
        u, v = site.decode()
        found.append([_hash(u), _hash(v)])
        _check_written(site, u, v)
    head = integers.head.decode()
    _apply(head, bundle)
    for layer in head.layers:
        values = (layer.weight, layer.u, layer.v, layer.bias)
        found.append([None if each is None else _hash(each) for each in values])
    return found + [[each.vector, _hash(each.decode())] for each in bundle.vectors]


def _check_written(site: StoredSite, u: Floats, v: Floats) -> None:
    """Decodes a site in the other way, in which a session does it: to arrays that are there.

    They may be blocks of larger ones, as those of packed sites are.
    """
    for beside in (0, 1):
        to_u, to_v = (
            np.zeros((rows, columns + beside), np.float32)[:, :columns]
            for rows, columns in (u.shape, v.T.shape)
        )
        site.write(to_u, to_v)
        if not (np.array_equal(u, to_u) and np.array_equal(v, to_v.T)):
            raise Fault("a site decodes to other values where it is written to arrays")


def _apply(head: Head, bundle: Bundle) -> None:
    """Gives the head three tokens, of which the last is padding."""
    if head.pooling == "logits":  # which the base gives, and no head changes
        return
    width = head.layers[0].d if head.layers else 1
    hidden = np.linspace(-1, 1, 3 * width, dtype=np.float32).reshape(1, 3, width)
    mask = np.array([[1, 1, 0]]) if len(bundle.labels) % 2 else None
    with np.errstate(all="ignore"):  # a session looks at its logits, not at how they came
        logits = apply_head(head, hidden, mask, hidden[:, 0])
        for layer in head.layers:
            if layer.n * layer.d <= _MOST_DENSE and layer.dense().shape != (layer.n, layer.d):
                raise Fault("a layer of a head is of another shape than it says")
    outputs = head.layers[-1].n if head.layers else width
    if logits.shape != ((1, 3, outputs) if head.pooling == "none" else (1, outputs)):
        raise Fault("a head gives logits of another shape", str(logits.shape))


def _hash(values: Any) -> str:
    if values.dtype != np.float32:
        raise Fault("decoded to another type than float32", str(values.dtype))
    if not np.isfinite(values).all():
        raise Fault("decoded to numbers that are not finite")
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def _facts(bundle: Bundle, fits: str, decoded: list[Any]) -> Any:
    head = bundle.head
    return {
        "task": bundle.task,
        "version": bundle.task_version,
        "labels": list(bundle.labels),
        "base": bundle.base,
        "values": bundle.values,
        "count": bundle.site_count,
        "sites": [[site.site, site.n, site.d, site.k] for site in bundle.sites],
        "head": [head.kind, head.pooling, head.normalize],
        "layers": [[*layer.shape, layer.rank, layer.activation] for layer in head.layers],
        "decoded": decoded,
        "sequence": bundle.sequence,
        "text": None if bundle.text is None else bundle.text.described(),
        "probe": None if bundle.probe is None else bundle.probe.described(),
        "fits": fits,
    }


def _trail(bundle: Bundle, fits: str) -> tuple[object, ...]:
    """Tells apart bundles by what is in them, roughly."""
    head = bundle.head
    layers = tuple((bool(x.rank), x.activation) for x in head.layers[:2])
    sites = min(len(bundle.sites), 3)
    parts = (bundle.text is not None, bundle.probe is not None, bool(bundle.vectors))
    return (
        bundle.values,
        sites,
        head.kind,
        head.pooling,
        len(head.layers) > 2,
        layers,
        parts,
        fits,
    )


KINDS = frozenset({"bundle"})

BUNDLE = Target(
    "bundle",
    seeds.bundles,
    mutate_bundle,
    opened,
    KINDS,
    share=0.35,
    inputs=0.52,
    twin="bundle",
)

HEAD = Target(
    "head",
    seeds.bundles,
    mutate_bundle_head,
    opened,
    KINDS,
    share=0.15,
    inputs=0.22,
    twin="bundle",
)
