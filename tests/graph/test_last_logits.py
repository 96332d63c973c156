"""States at each row's own last token, against numpy's choice of them."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from osd_edge.exporters.graph.last_logits import add_last_states, declare_logits

HIDDEN = 6


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    """A graph that gives its own input as hidden states, and the chosen ones as logits."""
    tokens = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "s", HIDDEN])
    mask = helper.make_tensor_value_info("mask", TensorProto.INT64, ["b", "w"])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "s", HIDDEN])
        for name in ("hidden", "present")
    ]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in ("hidden", "present")]
    graph = helper.make_graph(nodes, "g", [tokens, mask], outputs)
    states = add_last_states(graph, "hidden", "mask")
    graph.node.append(helper.make_node("Identity", [states], ["logits"]))
    declare_logits(graph, HIDDEN)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of every input that has a default
    return ort.InferenceSession(model.SerializeToString(), options)


@pytest.mark.parametrize(
    ("chunk", "mask", "last"),
    [
        (4, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], [3, 1, 0]),  # a prompt, padded
        (1, [[1, 1, 1, 1, 1], [1, 1, 0, 0, 1]], [0, 0]),  # a token after it
        (2, [[1, 1, 0, 1, 1], [1, 0, 0, 1, 0]], [1, 0]),  # a chunk after it
        (3, [[0, 0, 0], [1, 1, 1]], [0, 2]),  # a row of nothing has its first position
    ],
)
def test_logits_are_of_the_last_token_of_each_row(
    session: ort.InferenceSession, chunk: int, mask: list[list[int]], last: list[int]
) -> None:
    rows = len(mask)
    x: NDArray[Any] = np.arange(rows * chunk * HIDDEN, dtype=np.float32).reshape(rows, chunk, -1)
    feeds = {"x": x, "mask": np.array(mask, np.int64)}
    (found,) = session.run(["logits"], feeds)
    assert np.array_equal(found, x[np.arange(rows), last][:, None])
    (found,) = session.run(["logits"], feeds | {"all_logits": np.array(1)})
    assert np.array_equal(found, x)


def test_logits_are_the_second_output(session: ort.InferenceSession) -> None:
    assert [output.name for output in session.get_outputs()] == ["hidden", "logits", "present"]
    assert [one.name for one in session.get_overridable_initializers()] == ["all_logits"]
