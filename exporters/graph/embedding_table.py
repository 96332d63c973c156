"""The table of embeddings and the matrix of logits: one table, stored once, where they are tied."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from osd_edge.exporters.graph.graph_parts import CONTRIB, GraphParts, blocks_of, fp16_of, nbits
from osd_edge.exporters.models.rounding import BLOCK


class EmbeddingTable:
    """A matrix `[vocabulary, hidden]` of which rows are taken, and with which x is multiplied."""

    def __init__(self, parts: GraphParts, name: str, weight: NDArray[Any], kind: str) -> None:
        """Stores `weight` as `kind`; int4 stores a table in int8, like every embedding."""
        self._parts, self._name, self._shape = parts, name, weight.shape
        self._kind = "int8" if kind == "int4" else kind
        if self._kind == "fp32":
            self._stored = [parts.constant(name, weight)]
        elif self._kind == "fp16":
            self._stored = [parts.constant(f"{name}.fp16", fp16_of(name, weight))]
        else:
            self._stored = [parts.constant(f"{name}.{e}", a) for e, a in blocks_of(weight, 8)]

    def rows(self, ids: str, result: str) -> str:
        """Adds the rows `[batch, tokens, hidden]` of token ids."""
        add = self._parts.node
        if self._kind == "fp32":
            return add("Gather", [self._stored[0], ids], result)
        taken = add("Gather", [self._stored[0], ids], f"{result}/codes")
        if self._kind == "fp16":
            return add("Cast", [taken], result, to=TensorProto.FLOAT)
        shape = self._parts.constant(f"{result}/blocks", np.array([0, 0, -1, 1]))
        wide = add("Cast", [taken], f"{result}/wide", to=TensorProto.FLOAT)
        zero = self._parts.constant(f"{result}/zero", np.float32(128))
        centred = add("Sub", [wide, zero], f"{result}/centred")
        scale = add("Gather", [self._stored[1], ids], f"{result}/scale")
        scale = add("Reshape", [scale, shape], f"{result}/scale-of-block")
        scaled = add("Mul", [centred, scale], f"{result}/scaled")
        whole = self._parts.constant(f"{result}/whole", np.array([0, 0, -1]))
        hidden = self._shape[1]
        if hidden % BLOCK == 0:
            return add("Reshape", [scaled, whole], result)
        flat = add("Reshape", [scaled, whole], f"{result}/flat")
        start, end, axis = (
            self._parts.constant(f"{result}/{key}", np.array([value]))
            for key, value in (("start", 0), ("end", hidden), ("axis", 2))
        )
        return add("Slice", [flat, start, end, axis], result)

    def logits(self, x: str, result: str) -> str:
        """Adds x Eᵀ, `[batch, tokens, vocabulary]`, with the stored table itself."""
        add = self._parts.node
        if self._kind == "int8":
            return nbits(self._parts, result, x, self._stored, self._shape, 8)
        table = self._stored[0]
        if self._kind == "fp16":
            table = add("Cast", [table], f"{result}/table", to=TensorProto.FLOAT)
        # A MatMul would need the table transposed, which onnxruntime would copy at opening.
        return add("FusedMatMul", [x, table], result, domain=CONTRIB, transB=1)
