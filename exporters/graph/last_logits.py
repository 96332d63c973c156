"""The part of a graph that turns hidden states into logits, at each row's own last token.

A decoder's answer hangs on one position of each row, and logits are as wide as the vocabulary: at
a prompt's other positions they would cost more than all the layers. Padding stands on the right,
so that the last token of a row is where its mask's sum says.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from osd_edge.formats.package.generation import ALL_LOGITS, LOGITS

HEAD_PRODUCT = "/lm_head/product"  # the node that takes the vocabulary's weights [V, H]
CONTRIB = "com.microsoft"


def add_last_logits(
    model: onnx.ModelProto, hidden: str, mask: str, weight: str, bias: str | None = None
) -> None:
    """Adds the output `logits` `[B, L, V]` to a graph, after its first output, in place.

    `hidden` names its hidden states `[B, S, H]` and `mask` the mask of past and present columns
    `[B, P + S]` (int64). L is 1; S where the initializer `all_logits` (int64, 0) is fed 1. `weight`
    names an initializer `[V, H]`, which a Gather of embeddings may read too: it is stored once.
    `bias` names one `[V]`.
    """
    graph = model.graph
    states = add_last_states(graph, hidden, mask)
    product = LOGITS if bias is None else "logits/product"
    # FusedMatMul reads a table as it is: MatMul would need it transposed, which is a second copy.
    graph.node.append(
        helper.make_node(
            "FusedMatMul", [states, weight], [product], HEAD_PRODUCT, domain=CONTRIB, transB=1
        )
    )
    if bias is not None:
        graph.node.append(helper.make_node("Add", [product, bias], [LOGITS], "/lm_head/bias"))
    vocabulary = next(tensor.dims[0] for tensor in graph.initializer if tensor.name == weight)
    declare_logits(graph, vocabulary)
    if not any(opset.domain == CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))


def add_last_states(graph: onnx.GraphProto, hidden: str, mask: str) -> str:
    """Adds nodes that take each row's hidden state at its last token, in place; names the result.

    The result is `[B, L, H]` as in `add_last_logits`, and `all_logits` is declared.
    """
    graph.input.append(helper.make_tensor_value_info(ALL_LOGITS, TensorProto.INT64, []))
    constants = {
        ALL_LOGITS: np.int64(0),
        "logits/zero": np.int64(0),
        "logits/one": np.int64(1),
        "logits/first-axis": np.array([0]),
        "logits/second-axis": np.array([1]),
        "logits/end": np.array([np.iinfo(np.int64).max]),
        "logits/last-axis": np.array([-1]),
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, np.int64), name)
        for name, value in constants.items()
    )

    def add(operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        result = f"logits/{name}"
        graph.node.append(
            helper.make_node(operator, inputs, [result], f"/logits/{name}", **attributes)
        )
        return result

    chunk = add("Shape", [hidden], "chunk", start=1, end=2)
    since = add("Neg", [chunk], "since")
    present = add("Slice", [mask, since, "logits/end", "logits/second-axis"], "present")
    count = add("ReduceSum", [present, "logits/second-axis"], "count", keepdims=1)
    last = add("Sub", [count, "logits/one"], "last")
    # One maximum serves both ways: the last token against 0, or nothing against 0, 1, … S - 1.
    one = add("Sub", ["logits/one", ALL_LOGITS], "only")
    wanted = add("Mul", [last, one], "wanted")
    tokens = add("Squeeze", [chunk, "logits/first-axis"], "tokens")
    others = add("Mul", [tokens, ALL_LOGITS], "others")
    length = add("Add", [one, others], "length")
    offsets = add("Range", ["logits/zero", length, "logits/one"], "offsets")
    positions = add("Max", [wanted, offsets], "positions")
    indices = add("Unsqueeze", [positions, "logits/last-axis"], "indices")
    return add("GatherND", [hidden, indices], "states", batch_dims=1)


def declare_logits(graph: onnx.GraphProto, vocabulary: int) -> None:
    """Declares the output `logits` `[B, L, V]`, the second of the graph's outputs, in place."""
    others = list(graph.output)
    del graph.output[:]
    graph.output.append(others[0])
    graph.output.append(
        helper.make_tensor_value_info(
            LOGITS, TensorProto.FLOAT, ["batch_size", "logits_length", vocabulary]
        )
    )
    graph.output.extend(others[1:])
