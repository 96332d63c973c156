"""The graph of a decoder of Llama's shape, written layer by layer from the checkpoint."""

from pathlib import Path

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.graph.decoder.prove import prove_layers, prove_table
from osd_edge.exporters.graph.decoder.rotary import rotary_tables
from osd_edge.exporters.graph.decoder.shape import decoder_shape
from osd_edge.exporters.graph.decoder.writer import DecoderWriter
from osd_edge.exporters.graph.plain_graph import PlainGraph
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.language_head import language_head
from osd_edge.exporters.models.weightless import weightless_backbone
from osd_edge.formats.package.generation import Generation


def write_decoder(
    backbone: Backbone,
    file: Path,
    kind: str,
    context: int,
    generation: Generation | None = None,
    progress: Progress = silent,
) -> PlainGraph:
    """Writes the graph of `backbone`, whose family must have a `decoder`, and proves its weights.

    Weights go to `file`, stored as `kind`; one product of them is in memory at a time. Positions
    go up to `context` tokens. With `generation` the graph has key caches and logits too, else
    hidden states alone. Raises ModelError.
    """
    model = weightless_backbone(backbone)
    tables = rotary_tables(model, context, backbone.checkpoint.folder)
    shape = decoder_shape(backbone, model)
    head = None if generation is None else language_head(backbone)
    written = DecoderWriter(backbone, shape, tables, file, kind).write(generation, head, progress)
    prove_layers(written, file.parent, backbone, kind, progress)
    tables_of_words = {f"{shape.names.embedding}.weight"}
    if head is not None:
        tables_of_words.add(head.weight)
    for name in sorted(tables_of_words):
        prove_table(written, file.parent, backbone, name, kind)
    return written
