"""Logits at each row's own last token, against the same product in numpy."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from osd_edge.exporters.graph.last_logits import add_last_logits

VOCABULARY, HIDDEN = 11, 6
RANDOM = np.random.default_rng(4)
WEIGHT = RANDOM.normal(size=(VOCABULARY, HIDDEN)).astype(np.float32)
BIAS = RANDOM.normal(size=VOCABULARY).astype(np.float32)


def graph_of(bias: bool) -> ort.InferenceSession:
    """A graph that gives its own input as hidden states."""
    tokens = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "s", HIDDEN])
    mask = helper.make_tensor_value_info("mask", TensorProto.INT64, ["b", "w"])
    hidden = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["b", "s", HIDDEN])
    present = helper.make_tensor_value_info("present", TensorProto.FLOAT, ["b", "s", HIDDEN])
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in ("hidden", "present")]
    weights = [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(BIAS, "bias")]
    graph = helper.make_graph(nodes, "g", [tokens, mask], [hidden, present], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    add_last_logits(model, "hidden", "mask", "w", "bias" if bias else None)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of every input that has a default
    return ort.InferenceSession(model.SerializeToString(), options)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("chunk", "mask", "last"),
    [
        (4, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], [3, 1, 0]),  # a prompt, padded
        (1, [[1, 1, 1, 1, 1], [1, 1, 0, 0, 1]], [0, 0]),  # a token after it
        (2, [[1, 1, 0, 1, 1], [1, 0, 0, 1, 0]], [1, 0]),  # a chunk after it
        (3, [[0, 0, 0], [1, 1, 1]], [0, 2]),  # a row of nothing has its first position
    ],
)
def test_logits_stand_at_the_last_token_of_each_row(
    chunk: int, mask: list[list[int]], last: list[int], bias: bool
) -> None:
    session = graph_of(bias)
    x = RANDOM.normal(size=(len(mask), chunk, HIDDEN)).astype(np.float32)
    feeds = {"x": x, "mask": np.array(mask, np.int64)}
    every = x @ WEIGHT.T + (BIAS if bias else 0)
    (logits,) = session.run(["logits"], feeds)
    assert logits.shape == (len(mask), 1, VOCABULARY)
    assert np.abs(logits[:, 0] - every[np.arange(len(mask)), last]).max() < 1e-5
    (logits,) = session.run(["logits"], feeds | {"all_logits": np.array(1)})
    assert logits.shape == every.shape
    assert np.abs(logits - every).max() < 1e-5


def test_logits_are_the_second_output() -> None:
    session = graph_of(bias=False)
    assert [output.name for output in session.get_outputs()] == ["hidden", "logits", "present"]
    assert [one.name for one in session.get_overridable_initializers()] == ["all_logits"]
