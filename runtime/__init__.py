"""The device side: one onnxruntime session over one base, and tasks that swap in and out of it.

Needs numpy and onnxruntime only (text: also tokenizers). onnxruntime's telemetry client, which
would write files to the user's cache folder, stays off unless `ORT_DISABLE_TELEMETRY` is set.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # has to be set before the import

from osd_edge.runtime.evaluate import Evaluation, evaluate
from osd_edge.runtime.kinds.answer import Span
from osd_edge.runtime.kinds.classify import Answer
from osd_edge.runtime.kinds.tag import Tag
from osd_edge.runtime.output import MixedOutput, Output
from osd_edge.runtime.session import EdgeSession

__all__ = [
    "Answer",
    "EdgeSession",
    "Evaluation",
    "MixedOutput",
    "Output",
    "Span",
    "Tag",
    "evaluate",
]
