"""The device side: one onnxruntime session over one base, and tasks that swap in and out of it.

    >>> from osd_edge.runtime import EdgeSession
    >>> session = EdgeSession("minilm")
    >>> session.activate(session.load("mr.osd.safetensors"))
    >>> session.classify(["a film of real charm"])
    [Answer(label='...', score=0..., scores={...})]

`EdgeSession` answers with an `Answer`, a `Tag` or a `Span`, and gives arrays as an `Output` or a
`MixedOutput`; `evaluate` gives an `Evaluation`. That is the public face, `__all__`: everything else
in this package is private and may change without notice.

Needs numpy and onnxruntime only (text: also tokenizers). onnxruntime's telemetry client, which
would write files to the user's cache folder, stays off unless `ORT_DISABLE_TELEMETRY` is set.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # has to be set before the import

from osd_edge.runtime.evaluate import Evaluation, evaluate
from osd_edge.runtime.generation.conversation import Conversation
from osd_edge.runtime.generation.results import GeneratedText, Piece
from osd_edge.runtime.kinds.answer import Span
from osd_edge.runtime.kinds.classify import Answer
from osd_edge.runtime.kinds.tag import Tag
from osd_edge.runtime.output import MixedOutput, Output
from osd_edge.runtime.session import EdgeSession

__all__ = [
    "Answer",
    "Conversation",
    "EdgeSession",
    "Evaluation",
    "GeneratedText",
    "MixedOutput",
    "Output",
    "Piece",
    "Span",
    "Tag",
    "evaluate",
]
