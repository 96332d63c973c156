"""The kinds of task on the workstation: an object for each, and the table of them.

To add a kind, write its class in a file here and put it into this table, and likewise in
`osd_edge.formats.kinds` and `osd_edge.runtime.kinds`.
"""

from osd_edge.errors import Code, expected_one_of
from osd_edge.exporters.kinds.base import SEQUENCE, SPANS, TOKENS, Judged, Kind
from osd_edge.exporters.kinds.embedding import Embedding
from osd_edge.exporters.kinds.generate import Generate
from osd_edge.exporters.kinds.labels import Labels
from osd_edge.exporters.kinds.multi_label import MultiLabel
from osd_edge.exporters.kinds.regression import Regression
from osd_edge.exporters.kinds.spans import Spans
from osd_edge.exporters.kinds.token_labels import TokenLabels

__all__ = ["KINDS", "SEQUENCE", "SPANS", "TOKENS", "Judged", "Kind", "find_kind"]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Labels(),
        MultiLabel(),
        Regression(),
        TokenLabels(),
        Spans(),
        Embedding(),
        Generate(),
    )
}


def find_kind(name: str) -> Kind:
    """The kind called `name`; raises InputError `input.kind`."""
    if name not in KINDS:
        raise expected_one_of(Code.INPUT_KIND, KINDS, name)
    return KINDS[name]
