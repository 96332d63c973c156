"""Tells a model that was fine-tuned from a base from one that only has its shape.

Training moves weights a little: of four classifiers over MiniLM, the cosine of a linear layer's
weights with the base's is 0.9989 or more in the median, that of the embeddings 0.9999. Weights that
were trained apart (two layers of one kind, of MiniLM and SmolLM2) or drawn anew have one of 0.02 or
less. A delta between such is noise.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from osd_edge.exporters.models.adapted_checkpoint import AdaptedCheckpoint
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.checkpoint import Checkpoint

LEAST = 0.3  # a cosine below is no fine-tuning
_LAYERS, _ROWS = 24, 512  # that are compared: evenly spaced, so that a large model costs little


@dataclass(frozen=True)
class Likeness:
    """The cosines of a model's weights with those of the base, from -1 to 1.

    `linear` is the median over linear layers, `embedding` that of the table of tokens, or of
    patches. Either is None where there is nothing to compare: an adapter's linear layers are the
    base's with a difference, and so are its embeddings unless it has a copy of them.
    """

    linear: float | None
    embedding: float | None

    @property
    def figures(self) -> dict[str, float]:
        """The cosines that there are, by what they are of."""
        both = {"linear layers": self.linear, "embeddings": self.embedding}
        return {name: cosine for name, cosine in both.items() if cosine is not None}

    @property
    def fine_tuned(self) -> bool:
        """Says whether both are such as training from the base leaves them."""
        return not any(cosine < LEAST for cosine in self.figures.values())


def likeness(backbone: Backbone, tuned: Checkpoint) -> Likeness:
    """The likeness of `tuned` to the base, by some rows of some of its matrices."""
    base = backbone.checkpoint
    layers = {f"{layer.name}.weight" for layer in backbone.layers}
    shared = [name for name in backbone.parameters if name in layers and name in tuned]
    embedding = _embedding(backbone, layers)
    if isinstance(tuned, AdaptedCheckpoint):
        shared = []
        embedding = embedding if embedding and tuned.is_whole(embedding) else None
    chosen = shared[:: -(-len(shared) // _LAYERS) or 1]
    found = [one for name in chosen for one in _cosine(base, tuned, name)]
    table = [] if embedding is None else [*_cosine(base, tuned, embedding)]
    return Likeness(statistics.median(found) if found else None, table[0] if table else None)


def _embedding(backbone: Backbone, layers: set[str]) -> str | None:
    """The table of tokens, or the largest matrix that is none of `layers`."""
    words = getattr(backbone.checkpoint.config, "vocab_size", None)
    shapes = {n: s for n, s in backbone.parameters.items() if len(s) > 1 and n not in layers}
    return max(
        shapes, key=lambda n: (shapes[n][0] == words, torch.Size(shapes[n]).numel()), default=None
    )


def _cosine(base: Checkpoint, tuned: Checkpoint, name: str) -> Iterator[float]:
    """The cosine of tensor `name` in both, or none where one is zeros; of its rows at intervals."""
    if tuned.is_base_own(name):
        yield 1.0
        return
    ours, theirs = (one.stored(name) for one in (base, tuned))
    step = -(-len(ours) // _ROWS) or 1
    x, y = (part[::step].double().flatten() for part in (ours, theirs))
    size = float(x.norm() * y.norm())
    if size > 0:
        yield float(x @ y) / size
