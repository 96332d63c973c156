"""SkipLayerNormalization taken apart into a sum and a LayerNormalization.

onnxruntime fuses the two on its own, in a file and when a session opens, but from some release
on (1.24.4 is before it, 1.31 after it) its fused kernel takes five times as long as both apart
(docs/latency.md). A Sum is none of the patterns that it fuses.
"""

import onnx
from onnx import helper

_FIRST_OPSET = 17  # that has LayerNormalization
_FUSED = "SkipLayerNormalization"
_SIMPLIFIED = "SkipSimplifiedLayerNormalization"
_DEFAULT_EPSILON = 1e-12  # of the fused operator; LayerNormalization has another


def split_skip_norms(model: onnx.ModelProto, *, simplified: bool = False) -> None:
    """Replaces each SkipLayerNormalization of `model` by Sum and LayerNormalization, in place.

    Where `simplified` ones are meant too, SkipSimplifiedLayerNormalization is taken apart likewise.

    Terms are added in the fused operator's order: input, skip, bias. Nodes stay as they are in a
    graph of an operator set without LayerNormalization, and where a mean or a deviation is asked
    for, which CPU kernels do not give.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions.get("", versions.get("ai.onnx", 0)) < _FIRST_OPSET:
        return
    nodes = list(model.graph.node)
    del model.graph.node[:]
    fused = (_FUSED, _SIMPLIFIED) if simplified else (_FUSED,)
    for node in nodes:
        if node.op_type in fused and not any(node.output[1:3]):
            model.graph.node.extend(_apart(node))
        else:
            model.graph.node.append(node)


def _apart(node: onnx.NodeProto) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    # Scale, shift and bias; a simplified one has no shift.
    scale, *rest = node.input[2:]
    own = ["", *rest] if node.op_type == _SIMPLIFIED else rest
    shift = own[0] if own else ""
    terms = [node.input[0], node.input[1], *(name for name in own[1:2] if name)]
    # The fused operator's fourth output, where it has one, is the sum itself.
    total = node.output[3] if len(node.output) > 3 and node.output[3] else f"{node.output[0]}/sum"
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), _DEFAULT_EPSILON)
    factors = [scale, shift] if shift else [scale]
    return (
        helper.make_node("Sum", terms, [total], f"{node.name}/sum"),
        helper.make_node(
            node.op_type.removeprefix("Skip"),
            [total, *factors],
            [node.output[0]],
            node.name,
            axis=-1,
            epsilon=epsilon,
        ),
    )
