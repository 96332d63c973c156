"""The kind `generate`: text that the base writes, a token after the other."""

from typing import Any

from osd_edge.runtime.kinds.base import AskedTask, Entry, Kind, Request


class Generate(Kind):
    """The kind whose answer is text."""

    name = "generate"
    verb = "generate"

    def answers(self, task: AskedTask, request: Request) -> list[Any]:
        """Writes an answer to each text, the likeliest."""
        return task.write(request.texts)

    def entries(self, text: str, answer: Any) -> list[Entry]:
        """One entry, whose label is the answer's text."""
        return [{"text": text, "label": answer.text, "score": None, "ended": answer.ended}]
