"""The kind `embedding`: a vector for a text."""

from osd_edge.formats.heads import Floats
from osd_edge.runtime.kinds.base import AskedTask, Entry, Kind, Request


class Embedding(Kind):
    """A vector for each text: the logits are its numbers."""

    name = "embedding"
    verb = "embed"

    def answers(self, task: AskedTask, request: Request) -> list[Floats]:
        """Vectors `[features]` of all texts, in one batch."""
        return list(task.logits(task.encoder(request.texts, max_length=request.max_length)))

    def entries(self, text: str, answer: Floats) -> list[Entry]:
        """One entry, with the vector's numbers; its label says how many there are."""
        described = {"text": text, "label": f"{len(answer)} numbers", "score": None}
        return [described | {"vector": answer.tolist()}]
