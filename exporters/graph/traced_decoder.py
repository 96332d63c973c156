"""The graph of a decoder that writes text, traced: for families whose graph is not written here.

The traced model takes the keys and values of earlier tokens and gives them with those of the new
ones, which a device feeds back. Tokens' embeddings and logits are added after the trace, over one
stored table where the model ties them.
"""

from pathlib import Path

import onnx
from onnx import helper

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.graph.branches import find_layers
from osd_edge.exporters.graph.embedding_table import EmbeddingTable
from osd_edge.exporters.graph.external_data import move_weights
from osd_edge.exporters.graph.folding import drop_unused
from osd_edge.exporters.graph.graph_parts import CONTRIB, GraphParts
from osd_edge.exporters.graph.last_logits import add_last_states, declare_logits
from osd_edge.exporters.graph.onnx_graph import traced_graph
from osd_edge.exporters.graph.plain_graph import PlainGraph, Product
from osd_edge.exporters.graph.tracers import Tracer
from osd_edge.exporters.graph.tracers.example import HIDDEN_OUTPUT
from osd_edge.exporters.graph.unproved import unproved
from osd_edge.exporters.graph.weights import store_weights
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.language_head import LanguageHead, language_head
from osd_edge.formats.package.generation import LOGITS, Generation


def traced_decoder(
    backbone: Backbone,
    trace: Tracer,
    file: Path,
    kind: str,
    generation: Generation,
    progress: Progress = silent,
) -> PlainGraph:
    """Traces the graph of `backbone` with key caches and logits; every layer is proved.

    It has no branches yet. Inputs are `input_ids` `[B, S]`, `attention_mask` `[B, P + S]` (int64)
    and `generation.past` `[B, heads, P, size]`; outputs `last_hidden_state` `[B, S, H]`, `logits`
    `[B, L, V]` (L is 1, or S where `all_logits` is fed 1) and `generation.present`, which is the
    past with the new columns: `in_place` is False. A token's position is the number of tokens
    before it in its row, so that padding may stand between a prompt and its answer.

    Weights go to `file`, stored as `kind`, and are read from the checkpoint one at a time. Raises
    ModelError where the checkpoint has no head, or a layer is not found in the graph; InputError
    `input.tracer` for a tracer that makes no such graph.
    """
    head = language_head(backbone)
    graph = traced_graph(backbone, trace, file, generation, apart=[head.table])
    rows = _without_words(graph.graph, head.table)
    graph = move_weights(graph, file.parent, file.name)
    uses = find_layers(graph, file.parent, backbone, progress)
    graph = store_weights(graph, file, backbone.checkpoint, uses, kind, progress)
    _add_words(graph, backbone.checkpoint, head, rows, file, kind)
    return PlainGraph(graph, [Product(layer.name, (layer,)) for layer in backbone.layers], uses)


def _without_words(graph: onnx.GraphProto, table: str) -> tuple[str, str]:
    """Takes the rows of `table` out of a traced graph; gives the names of their ids and result."""
    found = [i for i, node in enumerate(graph.node) if table in node.input]
    node = graph.node[found[0]] if len(found) == 1 else onnx.NodeProto()
    if node.op_type != "Gather" or node.input[0] != table:
        raise unproved(f"the exported graph uses {table} for more than tokens' embeddings")
    ids, result = node.input[1], node.output[0]
    del graph.node[found[0]]
    drop_unused(graph)
    return ids, result


def _add_words(
    model: onnx.ModelProto,
    checkpoint: Checkpoint,
    head: LanguageHead,
    rows: tuple[str, str],
    file: Path,
    kind: str,
) -> None:
    """Adds what reads the vocabulary's tables to a graph, in place: embeddings and logits."""
    parts = GraphParts(file.parent, file.name, [], {})

    def stored(name: str) -> EmbeddingTable:
        return EmbeddingTable(parts, name, checkpoint.float32(name).numpy(), kind)

    table = stored(head.table)
    table.rows(*rows)
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*parts.nodes, *others])
    parts.nodes.clear()
    states = add_last_states(model.graph, HIDDEN_OUTPUT, "attention_mask")
    product = LOGITS if head.bias is None else f"{LOGITS}/product"
    (table if head.tied else stored(head.weight)).logits(states, product)
    if head.bias is not None:
        bias = parts.constant(head.bias, checkpoint.float32(head.bias).numpy())
        parts.node("Add", [product, bias], LOGITS)
    declare_logits(model.graph, head.vocabulary)
    model.graph.node.extend(parts.nodes)
    model.graph.initializer.extend(parts.initializers.values())
    if not any(opset.domain == CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
