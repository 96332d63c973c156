"""Our own bundles in the comparison: any method and value type of `TaskExporter`."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.compare.peers.source import Source
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.stored.head import HeadOptions
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.head_plan import head_modules
from osd_edge.formats.bundle.reader import read_bundle


@dataclass(frozen=True)
class BundleMethod:
    """A bundle by `method`; `values` and `head` are types, which the paper's methods take.

    `options` are further keywords of `TaskExporter.export`.
    """

    name: str
    method: str
    values: str | None = None
    head: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sized: bool = True

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The bundle within `budget`."""
        assert budget is not None
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / f"{source.task}.osd.safetensors"
            report = source.exporter.export(
                path,
                method=self.method,
                seed=source.seed,
                budget=budget,
                **self._typed(),
                **self.options,
            )
            data = path.read_bytes()
        detail: dict[str, str | int | float] = {
            "delta": report.delta_size,
            "sites": report.sites,
        }
        if report.paper_bits is not None:
            detail["paper_bytes"] = report.paper_bits // 8
        if report.extra_rank is not None:
            detail["c"] = report.extra_rank
        return Compressed({path.name: data}, detail)

    def _typed(self) -> dict[str, Any]:
        if self.values is None or self.head is None:
            return {}
        return {"values": self.values, "head": HeadOptions(values=self.head)}

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The bundle, read and decoded."""
        (data,) = files.values()
        return restore_bundle(data, backbone)


def restore_bundle(data: bytes, backbone: Backbone) -> Restored:
    """Deltas and head of a bundle's bytes; raises BundleError."""
    bundle = read_bundle(data)
    deltas = {}
    for site in bundle.sites:
        u, v = site.decode()
        deltas[backbone.layers[site.site].name] = torch.from_numpy(u.T @ v)
    head = {}
    layers = bundle.head.decode().layers
    for module, layer in zip(head_modules(backbone), layers, strict=True):
        head[f"{module.path}.weight"] = torch.from_numpy(layer.dense().copy())
        if layer.bias is not None:
            head[f"{module.path}.bias"] = torch.from_numpy(layer.bias.copy())
    return Restored(deltas, head)
