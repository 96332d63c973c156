"""Base packages whose graph is not what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from osd_edge.errors import BaseError
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.graph import check_graph, check_results

MANIFEST = BaseManifest(
    family="bert",
    fingerprint="0" * 64,
    hidden_size=8,
    inputs=("input_ids",),
    hidden_output="hidden",
    pooler_output=None,
    sites=(),
)


@pytest.mark.parametrize("outputs", [[], ["hidden"]])
def test_a_graph_with_no_outputs_or_of_another_rank(outputs: list[str]) -> None:
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "t"])
    nodes = [helper.make_node("Cast", ["input_ids"], ["hidden"], to=TensorProto.FLOAT)]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "t"]) for name in outputs]
    graph = helper.make_graph(nodes, "graph", [ids], made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with pytest.raises(BaseError) as refused:
        check_graph(session, MANIFEST, Path())
    assert refused.value.code == "base.graph"


def test_results_of_other_shapes() -> None:
    hidden, pooled = np.zeros((2, 3, 8), np.float32), np.zeros((2, 8), np.float32)
    check_results(MANIFEST, (2, 3), hidden, pooled)
    check_results(MANIFEST, (2, 3), hidden, None)
    pictures = replace(MANIFEST, inputs=("pixel_values",))
    check_results(pictures, (2, 3, 30, 30), np.zeros((2, 17, 8), np.float32), None)
    for wrong in (
        hidden[0],
        hidden[:1],
        hidden[:, :2],
        hidden[:, :, :7],
        hidden[None],
        hidden[0, 0, 0],
    ):
        with pytest.raises(BaseError) as refused:
            check_results(MANIFEST, (2, 3), np.asarray(wrong), None)
        assert refused.value.code == "base.graph"
    for short in (pooled[:1], pooled[:, :7], hidden):
        with pytest.raises(BaseError):
            check_results(MANIFEST, (2, 3), hidden, short)
