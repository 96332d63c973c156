"""Writes the graph of a decoder, a layer after the other, in onnxruntime's fused operators.

Layers that read the same x are one product: query, key and value; gate and up. A delta branch goes
between such a product and its bias, for all of its layers at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from osd_edge.data.progress import Progress
from osd_edge.exporters.graph.branches import LayerUse
from osd_edge.exporters.graph.decoder.rotary import Angles
from osd_edge.exporters.graph.decoder.shape import DecoderShape, LayerShape
from osd_edge.exporters.graph.embedding_table import EmbeddingTable
from osd_edge.exporters.graph.graph_parts import CONTRIB, GraphParts, product
from osd_edge.exporters.graph.last_logits import add_last_states, declare_logits
from osd_edge.exporters.graph.plain_graph import PlainGraph, Product
from osd_edge.exporters.graph.tracers.example import BATCH, HIDDEN_OUTPUT, TOKENS
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.language_head import LanguageHead
from osd_edge.formats.package.generation import LOGITS, Generation

_OPSETS = (("", 21), (CONTRIB, 1))
_IR_VERSION = 10
_PAST, _WIDTH = "past_length", "total_length"


class DecoderWriter:
    """Writes one graph; weights go to a file as they are read."""

    def __init__(
        self,
        backbone: Backbone,
        shape: DecoderShape,
        tables: dict[str, Angles],
        file: Path,
        kind: str,
    ) -> None:
        """Begins a graph whose weights of `kind` go to `file`; `tables` are rotary positions."""
        self._backbone, self._shape, self._tables = backbone, shape, tables
        self._kind = kind
        self._by_name = {layer.name: layer for layer in backbone.layers}
        self._parts = GraphParts(file.parent, file.name, [], {})
        self._products: list[Product] = []
        self._uses: dict[str, tuple[LayerUse, ...]] = {}

    def write(
        self, generation: Generation | None, head: LanguageHead | None, progress: Progress
    ) -> PlainGraph:
        """Writes the whole graph; with caches and `head`'s logits where `generation` is given."""
        shape, parts = self._shape, self._parts
        self._lengths()
        words = f"{shape.names.embedding}.weight"
        table = EmbeddingTable(parts, words, self._read(words), self._kind)
        x = table.rows("input_ids", f"{shape.names.embedding}/rows")
        if shape.embedding_scale != 1:
            scale = parts.constant(
                f"{shape.names.embedding}/scale", np.float32(shape.embedding_scale)
            )
            x = parts.node("Mul", [x, scale], f"{shape.names.embedding}/scaled")
        added: str | None = None  # to x, and not yet added
        for index, layer in enumerate(progress(shape.layers, "Writing layers")):
            x, normed = self._norm(f"{layer.path}.{shape.names.attention_norm}", x, added)
            added = self._attention(layer, index, normed, cached=generation is not None)
            added = self._output_norm(layer, shape.names.attention_output_norm, added)
            x, normed = self._norm(f"{layer.path}.{shape.names.feed_forward_norm}", x, added)
            added = self._feed_forward(layer, normed)
            added = self._output_norm(layer, shape.names.feed_forward_output_norm, added)
        _, normed = self._norm(shape.names.last_norm, x, added, last=True)
        graph = onnx.GraphProto(name="decoder")
        graph.node.extend(parts.nodes)
        parts.nodes.clear()
        _declare(graph, self._backbone, generation)
        if head is not None:
            self._logits(head, table, add_last_states(graph, normed, "attention_mask"))
            graph.node.extend(parts.nodes)
        graph.initializer.extend(parts.initializers.values())
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*opset) for opset in _OPSETS],
            ir_version=_IR_VERSION,
            producer_name="osd-edge",
        )
        return PlainGraph(model, self._products, self._uses)

    def _lengths(self) -> None:
        """Adds how long each row is, less one, and how many columns the mask has."""
        node, constant = self._parts.node, self._parts.constant
        axis, one = constant("lengths/axis", np.array([1])), constant("lengths/one", np.array(1))
        count = node("ReduceSum", ["attention_mask", axis], "lengths/count", keepdims=0)
        node("Cast", [node("Sub", [count, one], "lengths/last")], _PAST, to=TensorProto.INT32)
        width = node("Shape", ["attention_mask"], "lengths/shape", start=1, end=2)
        width = node("Squeeze", [width], "lengths/width")
        node("Cast", [width], _WIDTH, to=TensorProto.INT32)

    def _attention(self, layer: LayerShape, index: int, x: str, *, cached: bool) -> str:
        constant, names = self._parts.constant, self._shape.names
        path = f"{layer.path}.{names.attention}"
        inputs = (names.query, names.key, names.value)
        qkv = self._linear(f"{path}.qkv_proj", [f"{path}.{name}" for name in inputs], x)
        fed = [qkv, "", ""]
        if layer.head_norms:
            sizes = np.array([layer.heads, layer.kv_heads, layer.kv_heads]) * layer.size
            sizes_name = constant(f"{path}.qkv_proj/sizes", sizes)
            fed = [f"{path}.{name}/apart" for name in inputs]
            self._parts.nodes.append(
                helper.make_node("Split", [qkv, sizes_name], fed, f"{path}.qkv_proj/split", axis=-1)
            )
            for i, norm in enumerate((names.query_norm, names.key_norm)):
                fed[i] = self._head_norm(f"{path}.{norm}", fed[i], layer.size)
        past = [f"past_key_values.{index}.{part}" if cached else "" for part in ("key", "value")]
        present = [f"present.{index}.{part}" for part in ("key", "value")] if cached else []
        tables: list[str] = []
        if layer.rotary is not None:
            for part, values in zip(("cos", "sin"), self._tables[layer.rotary], strict=True):
                tables.append(constant(f"rotary.{layer.rotary}.{part}", values))
        result = f"{path}/attention"
        attributes: dict[str, Any] = {"softcap": self._shape.softcap} if self._shape.softcap else {}
        self._parts.nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [*fed, *past, _PAST, _WIDTH, *tables],
                [result, *present],
                result,
                domain=CONTRIB,
                num_heads=layer.heads,
                kv_num_heads=layer.kv_heads,
                scale=layer.scale,
                do_rotary=int(bool(tables)),
                local_window_size=-1 if layer.window is None else layer.window,
                **attributes,
            )
        )
        output = f"{path}.{names.attention_output}"
        return self._linear(output, [output], result)

    def _feed_forward(self, layer: LayerShape, x: str) -> str:
        node, names = self._parts.node, self._shape.names
        path = f"{layer.path}.{names.feed_forward}"
        both = [f"{path}.{names.gate}", f"{path}.{names.up}"]
        gate_up = self._linear(f"{path}.gate_up_proj", both, x)
        gate, up = f"{path}/gate", f"{path}/up"
        self._parts.nodes.append(
            helper.make_node(
                "Split", [gate_up], [gate, up], f"{path}/split", axis=-1, num_outputs=2
            )
        )
        active = self._active(gate, f"{path}/active")
        down = f"{path}.{names.down}"
        return self._linear(down, [down], node("Mul", [active, up], f"{path}/gated"))

    def _active(self, x: str, result: str) -> str:
        node = self._parts.node
        if self._shape.activation == "silu":
            return node("QuickGelu", [x], result, domain=CONTRIB, alpha=1.0)
        if self._shape.activation == "gelu":
            return node("Gelu", [x], result)
        return node("Gelu", [x], result, approximate="tanh")

    def _linear(self, name: str, paths: Sequence[str], x: str) -> str:
        """Adds the product of the layers at `paths`, and their biases; records where it is."""
        layers = tuple(self._by_name[path] for path in paths)
        weight = np.concatenate([self._read(f"{path}.weight") for path in paths])
        result = product(self._parts, name, x, weight, self._kind)
        self._products.append(Product(name, layers))
        self._uses[name] = (LayerUse(name, self._parts.nodes[-1].name, x, result, gemm=False),)
        biases = [f"{path}.bias" for path in paths]
        there = [bias in self._backbone.parameters for bias in biases]
        if not any(there):
            return result
        bias = np.concatenate(
            [
                self._read(bias) if found else np.zeros(layer.n, np.float32)
                for bias, found, layer in zip(biases, there, layers, strict=True)
            ]
        )
        return self._parts.node(
            "Add", [result, self._parts.constant(f"{name}.bias", bias)], f"{name}/biased"
        )

    def _norm(self, path: str, x: str, added: str | None, *, last: bool = False) -> tuple[str, str]:
        """Adds x + `added` and its norm; gives both."""
        gamma = self._gamma(path)
        result = HIDDEN_OUTPUT if last else f"{path}/normed"
        if added is None:
            return x, self._rms(x, gamma, result)
        outputs = [result, "", "", f"{path}/sum"]
        self._parts.nodes.append(
            helper.make_node(
                "SkipSimplifiedLayerNormalization",
                [x, added, gamma],
                outputs[:1] if last else outputs,
                f"{path}/norm",
                domain=CONTRIB,
                epsilon=self._shape.epsilon,
            )
        )
        return outputs[3], result

    def _output_norm(self, layer: LayerShape, name: str | None, x: str) -> str:
        if name is None:
            return x
        path = f"{layer.path}.{name}"
        return self._rms(x, self._gamma(path), f"{path}/normed")

    def _head_norm(self, path: str, x: str, size: int) -> str:
        node, constant = self._parts.node, self._parts.constant
        heads = constant(f"{path}/heads", np.array([0, 0, -1, size]))
        flat = constant(f"{path}/flat", np.array([0, 0, -1]))
        apart = node("Reshape", [x, heads], f"{path}/apart")
        normed = self._rms(apart, self._gamma(path), f"{path}/normed")
        return node("Reshape", [normed, flat], f"{path}/joined")

    def _rms(self, x: str, gamma: str, result: str) -> str:
        return self._parts.node(
            "SimplifiedLayerNormalization",
            [x, gamma],
            result,
            axis=-1,
            epsilon=self._shape.epsilon,
            stash_type=1,
        )

    def _gamma(self, path: str) -> str:
        gamma = self._read(f"{path}.weight") + np.float32(self._shape.names.norm_offset)
        return self._parts.constant(f"{path}.weight", gamma)

    def _logits(self, head: LanguageHead, table: EmbeddingTable, hidden: str) -> None:
        cap = self._shape.logit_softcap
        result = f"{LOGITS}/uncapped" if cap else LOGITS
        if head.tied:
            table.logits(hidden, result)
        else:
            words = self._read(head.weight)
            EmbeddingTable(self._parts, head.weight, words, self._kind).logits(hidden, result)
        if cap:
            node, by = self._parts.node, self._parts.constant(f"{LOGITS}/cap", np.float32(cap))
            bounded = node("Tanh", [node("Div", [result, by], f"{LOGITS}/small")], f"{LOGITS}/tanh")
            node("Mul", [bounded, by], LOGITS)

    def _read(self, name: str) -> NDArray[Any]:
        value: NDArray[Any] = self._backbone.checkpoint.float32(name).numpy()
        return value


def _declare(graph: onnx.GraphProto, backbone: Backbone, generation: Generation | None) -> None:
    """Adds the inputs and outputs of a graph, but for factors."""
    width = f"past_and_{TOKENS}" if generation is not None else TOKENS

    def tensor(name: str, shape: Sequence[str | int], kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, list(shape))

    graph.input.append(tensor("input_ids", (BATCH, TOKENS), TensorProto.INT64))
    graph.input.append(tensor("attention_mask", (BATCH, width), TensorProto.INT64))
    hidden = (BATCH, TOKENS, backbone.hidden_size)
    graph.output.append(tensor(HIDDEN_OUTPUT, hidden, TensorProto.FLOAT))
    if generation is None:
        return
    declare_logits(graph, generation.vocabulary)
    for names, where, axis in (
        (generation.past, graph.input, "past_sequence_length"),
        (generation.present, graph.output, "past_and_sequence_length"),
    ):
        cache = (BATCH, generation.heads, axis, generation.head_size)
        where.extend(tensor(name, cache, TensorProto.FLOAT) for name in names)
