"""The fingerprint of a base: a digest of its backbone's original weights.

sha256 over the backbone's tensors in order of name (bytewise, without the model class's
prefix); for each one the line `name dtype shape` and a newline, then its little-endian bytes in
row-major order. The same for every package made from one base, whatever its precision.
"""

import hashlib

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.models.checkpoint import Checkpoint


def fingerprint(
    base: Checkpoint,
    names: list[str],
    progress: Progress = silent,
    label: str = "Fingerprint of the base",
) -> str:
    """64 hex digits for the backbone tensors `names` of `base`; `label` names the bar."""
    digest = hashlib.sha256()
    for name in progress(sorted(names), label):
        tensor = base.stored(name).contiguous()
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape = "x".join(map(str, tensor.shape))
        digest.update(f"{name} {dtype} {shape}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
