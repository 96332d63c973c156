"""Truncated SVD of a layer's delta: ΔW ≈ U Vᵀ with the singular values split evenly."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.models.backbone import Backbone, LinearLayer
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.low_rank import LowRank, svd


@dataclass(frozen=True)
class Factors:
    """Leading columns of an SVD, scaled: U = P √S as `[k, n]`, V = Q √S as `[k, d]`.

    `singular` `[k]` are the singular values, largest first.
    """

    u: torch.Tensor
    v: torch.Tensor
    singular: torch.Tensor

    @property
    def n(self) -> int:
        """Outputs of the layer."""
        return self.u.shape[1]

    @property
    def d(self) -> int:
        """Inputs of the layer."""
        return self.v.shape[1]


@dataclass(frozen=True)
class Spectrum:
    """Singular values of an `[n, d]` delta, largest first, without those that are zero."""

    n: int
    d: int
    singular: torch.Tensor


def truncated_svd(delta: torch.Tensor | LowRank, k: int) -> Factors:
    """The `k` leading columns of ΔW `[n, d]`; fewer where the rest are exactly zero.

    Signs are fixed (the largest element of each u_k is positive), so that equal deltas give
    equal factors.
    """
    p, s, qt = svd(delta.double())
    k = min(k, _nonzero(s))
    p, s, qt = p[:, :k], s[:k], qt[:k]
    peaks = p.gather(0, p.abs().argmax(0, keepdim=True))[0] if k else p.new_zeros(0)
    root = s.sqrt()
    u = (p * (torch.sign(peaks) * root)).T
    v = qt * (torch.sign(peaks) * root)[:, None]
    return Factors(u.float().contiguous(), v.float().contiguous(), s.float())


def spectra_of_sites(
    backbone: Backbone,
    tuned: Checkpoint,
    layers: Sequence[LinearLayer],
    progress: Progress = silent,
) -> dict[str, Spectrum]:
    """The spectrum of each layer's delta, by the layer's name; none of the deltas is zero.

    Columns can be shared out among sites before any factor is held in memory.
    """
    result = {}
    for layer in progress(layers, "Singular values"):
        singular = _singular(backbone, tuned, layer)
        kept = singular[: _nonzero(singular)].float()
        result[layer.name] = Spectrum(layer.n, layer.d, kept)
    return result


def changed_layers(
    backbone: Backbone, tuned: Checkpoint, names: Collection[str]
) -> tuple[LinearLayer, ...]:
    """The layers among `names` whose delta is not zero."""
    changed = []
    for layer in backbone.layers:
        if layer.name in names:
            delta = site_delta(backbone, tuned, layer.name)
            if delta is not None and delta.any():
                changed.append(layer)
    return tuple(changed)


def factorize_sites(
    backbone: Backbone,
    tuned: Checkpoint,
    ranks: Mapping[str, int],
    progress: Progress = silent,
) -> dict[str, Factors]:
    """Factors of each site's delta W_tuned - W_base, `ranks[site]` columns at most.

    Weights are read layer by layer. Sites whose delta is zero, or that the fine-tuned model
    lacks, are left out.
    """
    result = {}
    for name in progress(list(ranks), "Truncated SVD"):
        delta = tuned.low_rank(f"{name}.weight") or site_delta(backbone, tuned, name)
        if delta is not None:
            factors = truncated_svd(delta, ranks[name])
            if len(factors.singular):
                result[name] = factors
    return result


def site_delta(backbone: Backbone, tuned: Checkpoint, name: str) -> torch.Tensor | None:
    """W_tuned - W_base `[n, d]` of the layer `name`; None where the task does without it."""
    weight = f"{name}.weight"
    if weight not in tuned or tuned.is_base_own(weight):
        return None  # a pooler that the task does without, or what an adapter leaves alone
    product = tuned.low_rank(weight)
    if product is not None:
        return product.dense()
    return tuned.float32(weight) - backbone.checkpoint.float32(weight)


def _singular(backbone: Backbone, tuned: Checkpoint, layer: LinearLayer) -> torch.Tensor:
    """Singular values of a layer's delta, in double precision."""
    product = tuned.low_rank(f"{layer.name}.weight")
    if product is not None:
        return svd(product.double())[1]
    delta = site_delta(backbone, tuned, layer.name)
    assert delta is not None
    singular: torch.Tensor = torch.linalg.svdvals(delta.double())
    return singular


def _nonzero(singular: torch.Tensor) -> int:
    return int((singular > singular[0] * 1e-12).sum())
