"""The kinds of task on the device: an object for each, and the table of them.

To add a kind, write its class in a file here and put it into this table, and likewise in
`osd_edge.formats.kinds` and `osd_edge.exporters.kinds`.
"""

from typing import TypeVar

from osd_edge.errors import Code, TaskError
from osd_edge.runtime.kinds.answer import Spans
from osd_edge.runtime.kinds.base import AskedTask, Entry, Kind, Request
from osd_edge.runtime.kinds.classify import Classifier, Labels, MultiLabel, Regression
from osd_edge.runtime.kinds.embed import Embedding
from osd_edge.runtime.kinds.generate import Generate
from osd_edge.runtime.kinds.tag import TokenLabels

__all__ = [
    "KINDS",
    "AskedTask",
    "Classifier",
    "Embedding",
    "Entry",
    "Generate",
    "Kind",
    "Request",
    "Spans",
    "TokenLabels",
    "expect_kind",
]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(Labels(), MultiLabel(), Regression(), TokenLabels(), Spans(), Embedding()),
        Generate(),
    )
}

_Kind = TypeVar("_Kind", bound=Kind)


def expect_kind(task: str, name: str, wanted: type[_Kind]) -> _Kind:
    """Finds the kind called `name`, of which `task` is, among those that are `wanted`.

    Raises TaskError `task.kind` where it is another, and names those that would do.
    """
    kind = KINDS[name]
    if not isinstance(kind, wanted):
        names = ", ".join(known.name for known in KINDS.values() if isinstance(known, wanted))
        raise TaskError(
            Code.TASK_KIND,
            f"{wanted.verb} is for tasks of the kind {names}; {task!r} is of the kind {name}",
        )
    return kind
