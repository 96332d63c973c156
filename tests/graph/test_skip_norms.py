"""SkipLayerNormalization taken apart gives the fused operator's values, and stays apart."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from osd_edge.exporters.graph.skip_norms import split_skip_norms
from osd_edge.formats.package.manifest import MODEL, PLAIN_MODEL
from tests.support.families import Families

HIDDEN = 24
FUSED = "SkipLayerNormalization"


def fused(
    inputs: list[str], outputs: list[str], opset: int = 17, epsilon: float | None = 1e-6
) -> onnx.ModelProto:
    """A graph of one fused operator, which takes `x` and `skip` `[batch, tokens, HIDDEN]`."""
    rng = np.random.default_rng(0)
    settings: dict[str, Any] = {} if epsilon is None else {"epsilon": epsilon}
    node = helper.make_node(FUSED, inputs, outputs, "norm", domain="com.microsoft", **settings)
    axes: list[str | int | None] = ["batch", "tokens", HIDDEN]
    graph = helper.make_graph(
        [node],
        "norms",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, axes) for name in inputs[:2]],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, axes)
            for name in outputs
            if name
        ],
        [
            numpy_helper.from_array(rng.normal(size=HIDDEN).astype(np.float32), name)
            for name in inputs[2:]
            if name
        ],
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def values(model: onnx.ModelProto, scale: float = 1.0) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {
        name: (scale * rng.normal(size=(2, 5, HIDDEN))).astype(np.float32) for name in ("x", "skip")
    }
    return session.run(None, given)  # type: ignore[no-any-return]


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["x", "skip", "scale", "shift", "bias"], ["y"]),
        (["x", "skip", "scale", "shift"], ["y"]),
        (["x", "skip", "scale"], ["y"]),
        (["x", "skip", "scale", "", "bias"], ["y", "", "", "sum"]),
    ],
    ids=["all", "no bias", "no shift", "the sum too"],
)
def test_a_norm_apart_gives_what_it_gave(inputs: list[str], outputs: list[str]) -> None:
    model = fused(inputs, outputs)
    expected = values(model)
    split_skip_norms(model)
    assert operators(model) == ["Sum", "LayerNormalization"]
    for ours, theirs in zip(values(model), expected, strict=True):
        assert np.abs(ours - theirs).max() < 1e-5


def test_the_fused_operators_own_epsilon_stays() -> None:
    """LayerNormalization's default, 1e-5, would swamp states as small as these."""
    model = fused(["x", "skip", "scale", "shift"], ["y"], epsilon=None)
    expected = values(model, scale=1e-4)[0]
    split_skip_norms(model)
    assert np.abs(values(model, scale=1e-4)[0] - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("outputs", "opset"), [(["y"], 16), (["y", "mean"], 17)], ids=["older operators", "the mean"]
)
def test_what_cannot_be_taken_apart_stays(outputs: list[str], opset: int) -> None:
    model = fused(["x", "skip", "scale", "shift"], outputs, opset)
    split_skip_norms(model)
    assert operators(model) == [FUSED]


@pytest.mark.parametrize("graph", [PLAIN_MODEL, MODEL])
def test_onnxruntime_does_not_fuse_them_again(
    families: Families, tmp_path: Path, graph: str
) -> None:
    """Not when a session opens either: that would cost a tenth of a run."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(families("bert") / "package" / graph), options)
    opened = operators(onnx.load(tmp_path / "opened.onnx", load_external_data=False))
    assert FUSED not in opened
    assert opened.count("LayerNormalization") == opened.count("Sum") == 4
