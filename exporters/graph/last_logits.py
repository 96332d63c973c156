"""The part of a graph that takes the hidden states of which logits are made: each row's last.

A decoder's answer hangs on one position of each row, and logits are as wide as the vocabulary: at
a prompt's other positions they would cost more than all the layers. Padding stands on the right,
so that the last token of a row is where its mask's sum says.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from osd_edge.formats.package.generation import ALL_LOGITS, LOGITS


def add_last_states(graph: onnx.GraphProto, hidden: str, mask: str) -> str:
    """Adds nodes that take each row's hidden state at its last token, in place; names the result.

    `hidden` names its hidden states `[B, S, H]` and `mask` the mask of past and present columns
    `[B, P + S]` (int64). The result is `[B, L, H]`: L is 1, and S where `all_logits`, which is
    added with the default 0, is fed 1.
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
    """Declares the output `logits` `[B, 1, V]`, the second of the graph's outputs, in place.

    L is declared as 1, which it is unless `all_logits` says otherwise: onnxruntime-genai takes from
    here how many logits to make room for. onnxruntime holds no run to it.
    """
    others = list(graph.output)
    del graph.output[:]
    graph.output.append(others[0])
    graph.output.append(
        helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch_size", 1, vocabulary])
    )
    graph.output.extend(others[1:])
