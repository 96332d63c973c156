"""The head of a task: pooling, then linear layers, then a kind of answer.

The kinds are in `kinds`. A head is applied in numpy to the hidden states of the base, so that a
device needs no graph for it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

POOLINGS = ("cls", "mean", "last", "pooler", "none", "logits")
ACTIVATIONS = ("tanh", "relu", "gelu", "gelu-norm")
NORM_EPSILON = 1e-5  # added to the variance in `gelu-norm`


@dataclass(frozen=True)
class HeadLayer:
    """A linear layer of a head, y = activation(x Wᵀ + b).

    W is `weight` `[n, d]`, or uᵀ v of the factors `u` `[k, n]` and `v` `[k, d]`, one row for each
    rank. `bias` is `[n]` or None.
    """

    n: int
    d: int
    activation: str | None
    bias: Floats | None
    weight: Floats | None = None
    u: Floats | None = None
    v: Floats | None = None

    def dense(self) -> Floats:
        """Gives the layer's matrix `[n, d]`, multiplied out."""
        if self.weight is not None:
            return self.weight
        assert self.u is not None and self.v is not None
        return self.u.T @ self.v


@dataclass(frozen=True)
class Head:
    """A decoded head: `pooling` of the hidden states, `layers` in order, and the answer's `kind`.

    With `normalize`, which only embeddings have, the outputs are divided by their length.
    """

    kind: str
    pooling: str
    layers: tuple[HeadLayer, ...]
    normalize: bool = False


def apply_head(
    head: Head, hidden: Floats, mask: NDArray[Any] | None, pooled: Floats | None
) -> Floats:
    """Computes logits `[batch, labels]` from hidden states `[batch, tokens, hidden]`.

    They are `[batch, tokens, labels]` where the pooling is `none`: those of padding mean nothing.
    `mask` `[batch, tokens]` is 1 where there is a token (None: everywhere); `pooled` is the base's
    own pooler output `[batch, hidden]`, which only the pooling `pooler` needs.
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
    if head.normalize:
        x = _normalised(x)
    logits: Floats = x
    return logits


def _normalised(vectors: Floats) -> Floats:
    """Divides vectors by their lengths, also those whose squares fp32 cannot hold."""
    doubles = vectors.astype(np.float64)
    lengths = np.linalg.norm(doubles, axis=-1, keepdims=True)
    unit: Floats = (doubles / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return unit


def softmax(logits: Floats) -> Floats:
    """Turns logits into scores `[batch, labels]` that add up to 1 in each row."""
    with np.errstate(over="ignore"):  # a difference beyond fp32 is as good as without end
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return scores


def sigmoid(logits: Floats) -> Floats:
    """Turns logits into scores of each label by itself, between 0 and 1."""
    scores: Floats = (0.5 * (1 + np.tanh(logits / 2))).astype(np.float32)
    return scores


def _pool(pooling: str, hidden: Floats, mask: NDArray[Any] | None, pooled: Floats | None) -> Floats:
    if pooling == "none":
        return hidden
    if pooling == "pooler":
        assert pooled is not None
        return pooled
    if pooling == "cls":
        return hidden[:, 0]
    if mask is None:
        mask = np.ones(hidden.shape[:2], np.int64)
    if pooling == "last":
        # the last token that is not padding, wherever the padding stands
        last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1] != 0, axis=1)
        tokens: Floats = hidden[np.arange(len(hidden)), last]
        return tokens
    there = (mask != 0)[:, :, None]
    # Chosen, not multiplied by zeros: padding may hold anything, and 0 times NaN is NaN.
    total: Floats = np.where(there, hidden, np.float32(0)).sum(axis=1)
    mean: Floats = total / np.maximum(there.sum(axis=1), 1).astype(np.float32)
    return mean


def _activate(name: str | None, x: Floats) -> Floats:
    if name == "tanh":
        return np.tanh(x)
    if name == "relu":
        return np.maximum(x, 0)
    if name == "gelu":
        erf = np.frompyfunc(math.erf, 1, 1)
        gelu: Floats = 0.5 * x * (1 + erf(x / math.sqrt(2)).astype(np.float32))
        return gelu
    if name == "gelu-norm":
        y = _activate("gelu", x).astype(np.float64)  # whose squares fp32 may not hold
        centred = y - y.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normed: Floats = (centred / np.sqrt(variance + NORM_EPSILON)).astype(np.float32)
        return normed
    return x
