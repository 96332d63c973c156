"""The names of columns and keys under which files have an example's text, its pair and its label.

Files of this field name them in few ways; a name that is none of these is not read.
"""

from collections.abc import Mapping, Sequence

TEXT, PAIR, LABEL = "text", "text_pair", "label"

NAMES: Mapping[str, tuple[str, ...]] = {
    TEXT: ("text", "sentence", "sentence1", "premise", "question", "query", "anchor"),
    PAIR: ("text_pair", "sentence2", "hypothesis", "context", "passage", "positive"),
    LABEL: ("label", "score"),
}
_BESIDE = {"positive": "anchor"}  # alone it is more likely a label's own column
_NUMBERING = frozenset({"", "id", "idx", "index", "guid", "unnamed: 0"})


def roles_of(columns: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Finds which column holds what, and which others there are but for numbering.

    Raises ValueError, which says why, where two columns would be the same.
    """
    found: dict[str, int] = {}
    others = []
    plain = [column.strip().lower() for column in columns]
    there = set(plain)
    for index, (column, name) in enumerate(zip(columns, plain, strict=True)):
        role = next((role for role, names in NAMES.items() if name in names), None)
        if role is None or _BESIDE.get(name, name) not in there:
            if name not in _NUMBERING:
                others.append(column)
        elif role in found:
            raise ValueError(
                f"{columns[found[role]]!r} and {column!r} both name the {role}: leave one out"
            )
        else:
            found[role] = index
    return found, others
