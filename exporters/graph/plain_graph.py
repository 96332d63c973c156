"""A graph without branches, written or traced, with the products that branches go to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from osd_edge.exporters.graph.branches import LayerUse, insert_branches
from osd_edge.exporters.models.backbone import LinearLayer
from osd_edge.formats.package.sites import Site


@dataclass(frozen=True)
class Product:
    """A product of a graph, called `name`, that is one linear layer or several which read one x."""

    name: str
    layers: tuple[LinearLayer, ...]

    @property
    def whole(self) -> LinearLayer:
        """The product as if it were one layer."""
        return LinearLayer(self.name, sum(layer.n for layer in self.layers), self.layers[0].d)


@dataclass(frozen=True)
class PlainGraph:
    """A graph without branches, its products, and the nodes of each, by the product's name."""

    model: onnx.ModelProto
    products: Sequence[Product]
    uses: Mapping[str, Sequence[LayerUse]]

    def branched(self, chosen: Collection[str], factors: str) -> tuple[Site, ...]:
        """Puts branches into the graph, in place; gives a site for each layer, by product.

        Each product with a layer in `chosen` gets one, for all of its layers.
        """
        wanted = {
            product.name
            for product in self.products
            if any(layer.name in chosen for layer in product.layers)
        }
        wholes = [product.whole for product in self.products]
        table = insert_branches(self.model, wholes, self.uses, wanted, factors)
        return tuple(
            replace(site, name=layer.name, n=layer.n)
            for site, product in zip(table, self.products, strict=True)
            for layer in product.layers
        )
