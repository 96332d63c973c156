"""A hash of what a bundle decodes to: equal on every device, whatever its processor."""

import hashlib

import numpy as np

from osd_edge.formats.bundle.model import Bundle


def decoded_sha256(bundle: Bundle) -> str:
    """sha256 of all decoded float32 values, little-endian.

    Site by site its number, U `[k, n]` and V `[k, d]`; then layer by layer of the head weight,
    U, V and bias, those that it has.
    """
    digest = hashlib.sha256()
    bundle = bundle.decoded()
    for site in bundle.sites:
        digest.update(site.site.to_bytes(4, "little"))
        for factor in site.decode():
            digest.update(np.ascontiguousarray(factor, "<f4").tobytes())
    for layer in bundle.head.decode().layers:
        for part in (layer.weight, layer.u, layer.v, layer.bias):
            if part is not None:
                digest.update(np.ascontiguousarray(part, "<f4").tobytes())
    return digest.hexdigest()
