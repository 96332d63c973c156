"""A head: what only the task has. Pooling, then linear layers, then a kind of answer.

Applied in numpy to the hidden states of the base, so that a device needs no graph for it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

POOLINGS = ("cls", "mean", "last", "pooler")
ACTIVATIONS = ("tanh", "relu", "gelu")
KINDS = ("labels",)


@dataclass(frozen=True)
class HeadLayer:
    """y = activation(x Wᵀ + b), W either `weight` `[n, d]` or the product U Vᵀ of `u` and `v`.

    `u` is `[k, n]` and `v` `[k, d]`, one row for each rank; `bias` is `[n]` or None.
    """

    n: int
    d: int
    activation: str | None
    bias: Floats | None
    weight: Floats | None = None
    u: Floats | None = None
    v: Floats | None = None

    def dense(self) -> Floats:
        """The layer's matrix `[n, d]`."""
        if self.weight is not None:
            return self.weight
        assert self.u is not None and self.v is not None
        return self.u.T @ self.v


@dataclass(frozen=True)
class Head:
    """Decoded head: `pooling` of the hidden states, `layers` in order, and the answer's `kind`."""

    kind: str
    pooling: str
    layers: tuple[HeadLayer, ...]


def apply_head(head: Head, hidden: Floats, mask: NDArray[Any], pooled: Floats | None) -> Floats:
    """Logits `[batch, labels]` from hidden states `[batch, tokens, hidden]`.

    `mask` `[batch, tokens]` is 1 where there is a token; `pooled` is the base's own pooler
    output `[batch, hidden]`, which only the pooling `pooler` needs.
    """
    x: Any = _pool(head.pooling, hidden, mask, pooled)
    for layer in head.layers:
        if layer.weight is not None:
            x = x @ layer.weight.T
        else:
            assert layer.u is not None and layer.v is not None
            x = (x @ layer.v.T) @ layer.u
        if layer.bias is not None:
            x = x + layer.bias
        x = _activate(layer.activation, x)
    logits: Floats = x
    return logits


def softmax(logits: Floats) -> Floats:
    """Scores `[batch, labels]` that add up to 1 in each row."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return scores


def _pool(pooling: str, hidden: Floats, mask: NDArray[Any], pooled: Floats | None) -> Floats:
    if pooling == "pooler":
        assert pooled is not None
        return pooled
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        # the last token that is not padding, wherever the padding stands
        last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1] != 0, axis=1)
        tokens: Floats = hidden[np.arange(len(hidden)), last]
        return tokens
    weights = (mask != 0).astype(np.float32)[:, :, None]
    mean: Floats = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    return mean


def _activate(name: str | None, x: Floats) -> Floats:
    if name == "tanh":
        return np.tanh(x)
    if name == "relu":
        return np.maximum(x, 0)
    if name == "gelu":
        erf = np.frompyfunc(math.erf, 1, 1)
        halves: Floats = 0.5 * x * (1 + erf(x / math.sqrt(2)).astype(np.float32))
        return halves
    return x
