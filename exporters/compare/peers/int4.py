"""truncsvd-int4: leading columns of each delta in 4 bits a value.

Columns of all sites compete by squared singular value for each bit; one fp32 scale for each
pair (u_k, v_k). The head's matrices are in 4 bits too, with a scale for each row. Scales for
groups of 64 values would bring the squared error from 1.0 to 0.8 % for 6 % more bytes, which
buy more as further columns.
"""

from collections import Counter

import numpy as np
import torch

from osd_edge.exporters.compare.peers import flat, nibbles
from osd_edge.exporters.compare.peers.fitting import largest_within
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.methods.budget import SCALE_BITS, Budget
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone

_FILE = "truncsvd-int4.safetensors"


class TruncSvdInt4:
    """Dense 4-bit columns."""

    name = "truncsvd-int4"
    sized = True

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """Takes as many columns as `budget` holds, wherever they are worth most."""
        assert budget is not None
        head = _code_head(source)
        rounded = {
            name: (nibbles.code_rows(f.u.numpy()), nibbles.code_rows(f.v.numpy()))
            for name, f in source.factors.items()
        }

        def build(ranks: dict[str, int]) -> tuple[Compressed, int]:
            codes, scales, kept, bits = [], [], [], 0
            for name, rank in sorted(ranks.items(), key=lambda item: source.site_index[item[0]]):
                (u, u_scale), (v, v_scale) = rounded[name]
                rank = min(rank, len(u))
                codes += [u[:rank].reshape(-1), v[:rank].reshape(-1)]
                scales.append((u_scale * v_scale)[:rank])
                kept.append(rank)
                bits += rank * _column_bits(u.shape[1], v.shape[1])
            tensors = head | {
                "sites": flat.site_table(source, sorted(ranks, key=lambda n: source.site_index[n])),
                "ranks": np.array(kept, np.uint16),
                "codes": nibbles.pack(np.concatenate(codes)),
                "scales": np.concatenate(scales),
            }
            return Compressed({_FILE: flat.pack(tensors)}, {"columns": sum(kept)}), bits

        order = _columns_by_worth(source)
        return largest_within(
            budget, source.layers, len(order), lambda count: build(dict(Counter(order[:count])))
        )

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """U Vᵀ of each site, and the head."""
        (data,) = files.values()
        tensors = flat.unpack(data)
        layers, ranks = flat.listed_layers(tensors, backbone), tensors["ranks"].tolist()
        total = sum(k * (layer.n + layer.d) for layer, k in zip(layers, ranks, strict=True))
        codes = nibbles.unpack(tensors["codes"], total).astype(np.float32)
        scales, deltas = tensors["scales"], {}
        for layer, k in zip(layers, ranks, strict=True):
            u, v, codes = np.split(codes, [k * layer.n, k * (layer.n + layer.d)])
            u = u.reshape(k, layer.n) * scales[:k, None]
            deltas[layer.name] = torch.from_numpy(u.T @ v.reshape(k, layer.d))
            scales = scales[k:]
        return Restored(deltas, _read_head(tensors))


def _column_bits(n: int, d: int) -> int:
    return 4 * (n + d) + SCALE_BITS


def _columns_by_worth(source: Source) -> list[str]:
    """Site of each column, best first by squared singular value for each bit it costs."""
    worth = [
        (-(float(s) ** 2) / _column_bits(f.n, f.d), name, i)
        for name, f in source.factors.items()
        for i, s in enumerate(f.singular)
    ]
    return [name for _, name, _ in sorted(worth)]


def _code_head(source: Source) -> dict[str, flat.Array]:
    """Matrices in 4 bits with an fp32 scale a row, vectors in fp16."""
    tensors: dict[str, flat.Array] = {}
    for name, value in source.head().items():
        if value.ndim == 2:
            codes, scales = nibbles.code_rows(value.numpy())
            tensors[f"codes.{name}"] = nibbles.pack(codes)
            tensors[f"scale.{name}"] = scales
        else:
            tensors[f"head.{name}"] = flat.fp16(value)
    return tensors


def _read_head(tensors: dict[str, flat.Array]) -> dict[str, torch.Tensor]:
    head = flat.read_head(tensors)
    for key, packed in tensors.items():
        if key.startswith("codes."):
            name = key.removeprefix("codes.")
            scales = tensors[f"scale.{name}"]
            # rows are as wide as the bytes allow: a padding nibble only follows an odd count
            width = 2 * packed.size // len(scales)
            codes = nibbles.unpack(packed, width * len(scales)).astype(np.float32)
            head[name] = torch.from_numpy(codes.reshape(len(scales), width) * scales[:, None])
    return head
