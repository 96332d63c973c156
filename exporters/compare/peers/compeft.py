"""compeft: ComPEFT (arXiv 2311.13171). The largest weights of the delta as signs with one scale.

Keep a share k of the weights by |ΔW|, either of all layers together or of each one, and set
them to α σ sign(ΔW), σ the standard deviation of the delta (of that layer). Positions are
Golomb coded, signs take a bit each, and the head is in fp16. The budget sets k; α (the paper's
grid, and beyond) and which of the two ways are chosen by divergence on calibration rows.
"""

from dataclasses import replace

import numpy as np
import torch

from osd_edge.exporters.compare.peers import flat, golomb
from osd_edge.exporters.compare.peers.fitting import Sample, largest_within
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.methods.budget import Budget, layer_bits
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone

# The paper's grid ends at 10; where few weights are kept, far larger ones are much better.
ALPHAS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448)
_PATIENCE = 3  # values of α in a row that are no better, after which larger ones are not tried
LARGEST_SHARE = 0.5
_FILE = "compeft.safetensors"


class ComPeft:
    """Sparse signs, Golomb coded."""

    name = "compeft"
    sized = True

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The largest share of the weights within `budget`."""
        assert budget is not None
        sample = source.shared(Sample)
        candidates: list[tuple[float, int, Compressed, float]] = []
        for each_layer in (False, True):
            largest = _within(source, budget, each_layer=each_layer)
            unit = self.restore(largest.files, source.models.backbone)
            losses: list[float] = []
            for alpha in ALPHAS:
                deltas = {name: alpha * delta for name, delta in unit.deltas.items()}
                losses.append(sample.divergence(Restored(deltas, unit.head)))
                candidates.append((losses[-1], len(candidates), largest, alpha))
                if len(losses) - losses.index(min(losses)) > _PATIENCE:
                    break
        _, _, largest, alpha = min(candidates)
        return _with_alpha(largest, alpha)

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The sparse signs at their slots, and the head."""
        (data,) = files.values()
        tensors = flat.unpack(data)
        layers = flat.listed_layers(tensors, backbone)
        sizes = [layer.n * layer.d for layer in layers]
        count, m = tensors["golomb"].tolist()
        where = np.cumsum(golomb.decode(tensors["positions"], count, m) + 1) - 1
        sign = 2.0 * np.unpackbits(tensors["signs"], count=count) - 1
        scale = np.repeat(np.broadcast_to(tensors["scales"], len(sizes)), sizes)
        values = np.zeros(sum(sizes), np.float32)
        values[where] = sign * scale[where]
        parts = torch.split(torch.from_numpy(values), sizes)
        deltas = {
            layer.name: part.view(layer.n, layer.d)
            for layer, part in zip(layers, parts, strict=True)
        }
        return Restored(deltas, flat.read_head(tensors))


def _within(source: Source, budget: Budget, *, each_layer: bool) -> Compressed:
    """The file with α = 1 and as many weights as `budget` holds."""
    deltas = [source.delta(layer.name).reshape(-1).numpy() for layer in source.layers]
    values = np.concatenate(deltas)
    scales = np.array([part.std() for part in (deltas if each_layer else [values])], np.float32)
    most = min(_most(budget, source), max(1, int(LARGEST_SHARE * values.size)))
    order = _by_magnitude(deltas, most, each_layer=each_layer)
    head = flat.fp16_head(source)

    def build(count: int) -> tuple[Compressed, int]:
        where = np.sort(order[:count])
        gaps = np.diff(where, prepend=-1) - 1
        m = golomb.best_parameter(gaps)
        positions = golomb.encode(gaps, m)
        tensors = head | {
            "sites": flat.site_table(source),
            "golomb": np.array([count, m], np.uint32),
            "positions": positions,
            "signs": np.packbits(values[where] > 0),
            "scales": scales,
        }
        detail = {"share": count / values.size, "scope": "layer" if each_layer else "all"}
        return Compressed({_FILE: flat.pack(tensors)}, detail), 8 * positions.size + count

    return largest_within(budget, source.layers, order.size, build)


def _most(budget: Budget, source: Source) -> int:
    """More weights than `budget` can hold: each takes two bits at least."""
    if budget.size is not None:
        return 4 * budget.size
    assert budget.rank is not None
    return sum(layer_bits(budget.rank, x.n, x.d) for x in source.layers) // 2


def _by_magnitude(deltas: list[flat.Array], most: int, *, each_layer: bool) -> flat.Array:
    """Slots in the flat delta of the `most` first to be kept, the first first.

    By |ΔW|, or by its rank within its layer as a share of the layer.
    """
    if not each_layer:
        return _largest(np.concatenate(deltas), most)
    total, start = sum(delta.size for delta in deltas), 0
    slots, ranks = [], []
    for delta in deltas:
        count = min(delta.size, most * delta.size // total + 1)
        slots.append(_largest(delta, count) + start)
        ranks.append(np.arange(count) / delta.size)
        start += delta.size
    first = np.argsort(np.concatenate(ranks), kind="stable")[:most]
    kept: flat.Array = np.concatenate(slots)[first]
    return kept


def _largest(values: flat.Array, count: int) -> flat.Array:
    """Slots of the `count` values of largest magnitude, the largest first."""
    magnitude = np.abs(values)
    chosen = np.argpartition(-magnitude, count - 1)[:count]
    ordered: flat.Array = chosen[np.lexsort((chosen, -magnitude[chosen]))]
    return ordered


def _with_alpha(compressed: Compressed, alpha: float) -> Compressed:
    tensors = flat.unpack(compressed.files[_FILE])
    tensors["scales"] = alpha * tensors["scales"]
    detail = dict(compressed.detail) | {"alpha": alpha}
    return replace(compressed, files={_FILE: flat.pack(tensors)}, detail=detail)
