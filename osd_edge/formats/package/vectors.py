"""The vectors of a base, its biases and its norms' weights, and the graph inputs that change them.

An input may serve several vectors, such as the weight and the bias of a norm: their changes stand
one after the other, in the order of the list, `[t, 1, N]` with N the sum of their numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Vector:
    """A vector of the base that a task may change: a bias, or the weight of a norm.

    Attributes:
        name: The parameter's name, without the prefix of the model class.
        n: Numbers in it.
        input: Name of the graph input for its change, which other vectors may share.

    >>> from osd_edge import Vector
    >>> Vector("encoder.layer.0.output.dense.bias", 384, "encoder.layer.0.output.dense.b").n
    384
    """

    name: str
    n: int
    input: str


@dataclass(frozen=True)
class VectorInput:
    """A graph input `[t, 1, n]` that changes vectors (t = 1 or the batch).

    `vectors` are indices in the base's list, `starts` where the numbers of each begin in the input.
    """

    name: str
    n: int
    vectors: tuple[int, ...]
    starts: tuple[int, ...]


def vector_inputs(vectors: Sequence[Vector]) -> tuple[VectorInput, ...]:
    """Groups the vectors of a list by input, in the order in which inputs begin."""
    members: dict[str, list[int]] = {}
    for index, vector in enumerate(vectors):
        members.setdefault(vector.input, []).append(index)
    found = []
    for name, indices in members.items():
        starts, n = [], 0
        for index in indices:
            starts.append(n)
            n += vectors[index].n
        found.append(VectorInput(name, n, tuple(indices), tuple(starts)))
    return tuple(found)
