"""Controls: what the same refinement makes of other starts, to tell compression from retraining.

Each gets the texts, steps and loss that osd-rd's codes get (`control-random-scales`: its scales).
If a zero delta, random codes, or a plain SVD came as far, the refinement would have retrained the
task and not kept it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import torch

from osd_edge.exporters.compare.peers.bundles import bundle_file, restore_bundle
from osd_edge.exporters.compare.peers.lora import LoraExtraction, adapter
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.factorize import Factors
from osd_edge.exporters.methods.head_options import HeadOptions
from osd_edge.exporters.methods.osd_rd.bundles import RateDistortionBundles, Wanted
from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
from osd_edge.exporters.methods.paper.method import TruncSvd
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.methods.stored.head import stored_head_layer
from osd_edge.exporters.methods.stored.latents import Latent, Latents
from osd_edge.exporters.methods.stored.values import stored_site
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.bundle.writer import write_bundle

SiteFactors = tuple[torch.Tensor, torch.Tensor]  # U `[k, n]` and V `[k, d]`


def without_delta(latents: Latents, seed: int) -> Latents:
    """A zero delta: the head alone is refined.

    Where there is no head, U is zero and V's codes stand in the wrong slots, as a LoRA starts
    from B = 0 and a random A: there is no delta, and the bytes to make one.
    """
    if latents.head:
        return replace(latents, sites={})
    wrong = shuffled(latents, seed).sites
    sites = {name: replace(latent, u=torch.zeros_like(latent.u)) for name, latent in wrong.items()}
    return replace(latents, sites=sites)


def shuffled(latents: Latents, seed: int) -> Latents:
    """Permutes the rows of U and of V of each site, so that the codes stand in the wrong slots."""
    generator = torch.Generator().manual_seed(seed)

    def shuffle(x: torch.Tensor) -> torch.Tensor:
        return x[:, torch.randperm(x.shape[1], generator=generator)]

    sites = {n: latent.map(*map(shuffle, latent.rows)) for n, latent in latents.sites.items()}
    return replace(latents, sites=sites)


class ChangedCodes(ABC):
    """osd-rd with refined codes, or with refined scales, from a changed start."""

    name: str
    sized = True
    refine = "codes"

    @staticmethod
    @abstractmethod
    def change(latents: Latents, seed: int) -> Latents:
        """Gives the latents that refinement starts from, in the place of `latents`."""

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The bundle within `budget`."""
        assert budget is not None
        seed = source.options.seed
        wanted = Wanted(
            source.task,
            self.refine,
            source.progress,
            change=lambda latents: self.change(latents, seed),
        )
        made = source.shared(RateDistortionBundles, seed).within(wanted, budget)
        return Compressed({bundle_file(source): write_bundle(made.bundle)})

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The bundle, read and decoded."""
        (data,) = files.values()
        return restore_bundle(data, backbone)


class ZeroDelta(ChangedCodes):
    """The head alone is refined, without a delta; without a head, a delta from zero."""

    name = "control-zero"
    change = staticmethod(without_delta)


class PermutedCodes(ChangedCodes):
    """Codes in the wrong slots are refined as the right ones are."""

    name = "control-random"
    change = staticmethod(shuffled)


class PermutedScales(PermutedCodes):
    """Codes in the wrong slots, whose scales are refined as those of the right ones are."""

    name = "control-random-scales"
    refine = "scales"


class RefinedLora(LoraExtraction):
    """The SVD-extracted LoRA, its factors and head refined as real numbers, then fp16."""

    name = "control-lora"

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The adapter of the largest rank within `budget`."""
        rank = int(super().compress(source, budget).detail["rank"])
        start = {name: (f.u[:rank], f.v[:rank]) for name, f in source.factors.items()}
        factors, head = _refined(source, start)
        found = {name: Factors(u, v, torch.ones(len(u))) for name, (u, v) in factors.items()}
        return Compressed(adapter(source, found, head, rank), {"rank": rank})


class RefinedTruncSvd:
    """truncsvd-int8, its factors and head refined as real numbers, then int8 again."""

    name = "control-truncsvd"
    sized = True

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """Takes as many columns as truncsvd-int8 has within `budget`."""
        assert budget is not None
        head_options = HeadOptions(values="int8")
        options = replace(
            source.options, method="truncsvd", budget=budget, values="int8", head=head_options
        )
        made = TruncSvd().make(source, source.task, options, source.progress)
        bundle = read_bundle(write_bundle(made.bundle))
        layers = source.models.backbone.layers
        start = {}
        for site in bundle.sites:
            u, v = (torch.from_numpy(x.copy()) for x in site.decode())
            start[layers[site.site].name] = (u, v)
        factors, head = _refined(source, start)
        head_layers = tuple(
            stored_head_layer(
                head[f"{module.path}.weight"],
                module.activation,
                head.get(f"{module.path}.bias"),
                head_options,
            )
            for module in source.models.head.modules
        )
        bundle = replace(bundle, head=replace(bundle.head, layers=head_layers))
        return Compressed({bundle_file(source): _within(source, bundle, factors, budget)})

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The bundle, read and decoded."""
        (data,) = files.values()
        return restore_bundle(data, backbone)


def _within(
    source: Source, bundle: Bundle, factors: dict[str, SiteFactors], budget: Budget
) -> bytes:
    """The bundle with these columns in int8; the smallest ones go if it grew over the budget.

    A value that training brought to zero takes its column out of the dense coding.
    """
    while True:
        stored = (stored_site(source.site_index[n], u, v, "int8") for n, (u, v) in factors.items())
        sites = tuple(sorted((s for s in stored if s is not None), key=lambda s: s.site))
        data = write_bundle(replace(bundle, sites=sites))
        if budget.size is None or len(data) <= budget.size:
            return data
        norms = {
            (name, j): float(u[j].norm() * v[j].norm())
            for name, (u, v) in factors.items()
            for j in range(len(u))
        }
        name, j = min(norms, key=lambda column: norms[column])
        u, v = factors[name]
        others = torch.arange(len(u)) != j
        factors = {**factors, name: (u[others], v[others])}


def _refined(
    source: Source, start: Mapping[str, SiteFactors]
) -> tuple[dict[str, SiteFactors], dict[str, torch.Tensor]]:
    """Factors U `[k, n]`, V `[k, d]` by site and the head's parameters, refined as real numbers.

    Rows have root mean square 1 in training, near that of codes, so that rates mean the same.
    """
    modules = source.models.head.modules
    values = source.head()
    latents = Latents(
        {name: _unit(u, v) for name, (u, v) in start.items()},
        tuple(_unit(values[f"{module.path}.weight"]) for module in modules),
        tuple(values.get(f"{module.path}.bias") for module in modules),
    )
    pipeline = source.shared(RateDistortionBundles, source.options.seed).pipeline
    refined = pipeline.refined(latents, REFINEMENTS["codes"], source.progress, quantized=False)
    factors = {}
    for name, latent in refined.sites.items():
        assert latent.v is not None
        root = latent.scale.abs().sqrt()[:, None]
        factors[name] = (latent.u * root * latent.scale.sign()[:, None], latent.v * root)
    head = {}
    for module, latent, bias in zip(modules, refined.head, refined.biases, strict=True):
        head[f"{module.path}.weight"] = latent.u * latent.scale[:, None]
        if bias is not None:
            head[f"{module.path}.bias"] = bias
    return factors, head


def _unit(u: torch.Tensor, v: torch.Tensor | None = None) -> Latent:
    left = u.square().mean(1).sqrt().clamp_min(1e-12)
    if v is None:
        return Latent(u / left[:, None], None, left)
    right = v.square().mean(1).sqrt().clamp_min(1e-12)
    return Latent(u / left[:, None], v / right[:, None], left * right)
