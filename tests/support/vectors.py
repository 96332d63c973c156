"""Tasks that change every bias and norm of a base, and the torch model that they make of it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge import BaseManifest, Bundle, VectorDelta, write_bundle
from osd_edge.exporters.models.families import load_family
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.formats.bundle.model import StoredHead
from osd_edge.formats.coding.scales import snap_scales

SCALE = snap_scales(np.array([0.0625]))[0]


def vectors_task(manifest: BaseManifest, file: Path, seed: int) -> dict[str, NDArray[np.float32]]:
    """Writes a task that changes all vectors and nothing else; gives the changes by name."""
    rng = np.random.default_rng(seed)
    vectors = tuple(
        VectorDelta(i, rng.integers(1, 6, vector.n) * rng.choice((-1, 1), vector.n), SCALE)
        for i, vector in enumerate(manifest.vectors)
    )
    writes = manifest.generation is not None
    kind, pooling = ("generate", "logits") if writes else ("embedding", "mean")
    bundle = Bundle(
        task=file.name.split(".")[0],
        task_version="1",
        labels=(),
        base=manifest.fingerprint,
        site_count=len(manifest.sites),
        values="coded",
        sites=(),
        head=StoredHead(kind, pooling, ()),
        vectors=vectors,
    )
    file.write_bytes(write_bundle(bundle))
    return {manifest.vectors[each.vector].name: each.decode() for each in vectors}


def add_to(model: Any, family: str, changes: dict[str, NDArray[np.float32]]) -> None:
    """Adds changes to the parameters of a backbone in torch."""
    known = load_family(family)
    parameters = {checkpoint_name(known, name): p for name, p in model.named_parameters()}
    with torch.no_grad():
        for name, change in changes.items():
            parameters[name].add_(torch.from_numpy(change))
