"""head: a head over the base as it is, no delta; what an easy task needs."""

from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.compare.peers.source import Source
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.bundle.writer import write_bundle


class HeadOnly:
    """The bundle that `export task --method head` writes."""

    name = "head"
    sized = False

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The one file there is."""
        made = source.exporter.coded_task(source.seed).head_only(source.task)
        detail = {"pooling": made.bundle.head.pooling}
        return Compressed({f"{source.task}.osd.safetensors": write_bundle(made.bundle)}, detail)

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The head, which may read other states than the fine-tuned model's own."""
        (data,) = files.values()
        return Restored({}, {}, read_bundle(data).head.decode())
