"""Entities of tags, and the F1 of those that were found, as seqeval counts them.

An entity is found where its label, its first and its last word are all right. Tags are read as
seqeval reads them by default, whichever of IOB1, IOB2 and IOBES they are: see `get_entities` of
https://github.com/chakki-works/seqeval.
"""

from collections.abc import Hashable, Iterable, Sequence, Set

OUTSIDE = "O"
_PREFIXES = frozenset("BIES")
BEGINS = frozenset("BS")  # whatever stood before
ENDS = frozenset("ES")  # whatever comes after

Entity = tuple[str, int, int]  # a label, the first word and the one after the last


def split_tag(tag: str) -> tuple[str, str]:
    """Splits `B-PER` into B and PER; a tag without such a prefix is taken as one of I-."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, mark, label = tag.partition("-")
    return (prefix, label) if mark and prefix in _PREFIXES else ("I", tag)


def entities_of(tags: Sequence[str]) -> set[Entity]:
    """The entities of a sentence's tags.

    >>> sorted(entities_of(["B-PER", "I-PER", "O", "B-LOC"]))
    [('LOC', 3, 4), ('PER', 0, 2)]
    """
    found, begun, before = set(), 0, (OUTSIDE, "")
    for index, tag in enumerate([*map(split_tag, tags), (OUTSIDE, "")]):
        if tag == before == (OUTSIDE, ""):
            continue
        fresh = tag[1] != before[1] or tag[0] in BEGINS or before[0] in ENDS
        if before[0] != OUTSIDE and (fresh or tag[0] == OUTSIDE):
            found.add((before[1], begun, index))
        if fresh or before[0] == OUTSIDE:
            begun = index
        before = tag
    return found


def f1_of_sets(pairs: Iterable[tuple[Set[Hashable], Set[Hashable]]]) -> dict[str, float]:
    """F1, precision and recall over all rows, of right things and found ones of each.

    Where there is nothing to divide by they are 0.
    """
    right = found = both = 0
    for expected, given in pairs:
        right, found, both = right + len(expected), found + len(given), both + len(expected & given)
    precision = both / found if found else 0.0
    recall = both / right if right else 0.0
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return {"f1": f1, "precision": precision, "recall": recall}
