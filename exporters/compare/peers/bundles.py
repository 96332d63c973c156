"""Our own task bundles in the comparison: any method of the registry that makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.methods.base import Method
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.made import finished
from osd_edge.exporters.methods.registry import MethodEntry
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.head_plan import head_modules
from osd_edge.formats.bundle.reader import read_bundle


@dataclass(frozen=True)
class BundleFiles:
    """The bundle of a method, as the one file of a comparison; `options` are the variant's."""

    name: str
    entry: MethodEntry
    options: Mapping[str, Any]

    @property
    def sized(self) -> bool:
        """Says whether the method takes a budget."""
        return self.entry.budget is not None

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The bundle within `budget`."""
        method: Method = self.entry.load()
        options = replace(source.options, method=self.entry.name, budget=budget, **self.options)
        method.check(options)
        made = method.make(source, source.task, options, source.progress)
        data, report = finished(made, source, options)
        detail: dict[str, str | int | float] = {"delta": report.delta_size, "sites": report.sites}
        if not self.entry.delta:
            detail = {"pooling": made.bundle.head.pooling}
        if report.paper_bits is not None:
            detail["paper_bytes"] = report.paper_bits // 8
        if report.extra_rank is not None:
            detail["c"] = report.extra_rank
        return Compressed({bundle_file(source): data}, detail)

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The bundle, read and decoded; a head alone may read other states than the model's own."""
        (data,) = files.values()
        if not self.entry.delta:
            return Restored({}, {}, read_bundle(data).head.decode())
        return restore_bundle(data, backbone)


def bundle_file(source: Source) -> str:
    """The name of the file of a bundle."""
    return f"{source.task}.osd.safetensors"


def restore_bundle(data: bytes, backbone: Backbone) -> Restored:
    """Deltas and head of a bundle's bytes; raises BundleError."""
    bundle = read_bundle(data)
    deltas = {}
    for site in bundle.sites:
        u, v = site.decode()
        deltas[backbone.layers[site.site].name] = torch.from_numpy(u.T @ v)
    head = {}
    layers = bundle.head.decode().layers
    modules = head_modules(backbone) if layers else ()  # a task that generates text has none
    for module, layer in zip(modules, layers, strict=True):
        head[f"{module.path}.weight"] = torch.from_numpy(layer.dense().copy())
        if layer.bias is not None:
            head[f"{module.path}.bias"] = torch.from_numpy(layer.bias.copy())
    return Restored(deltas, head)
