"""Removes from text what a terminal obeys or a reader cannot see."""

from typing import Any

# Controls, and what turns the direction of text or breaks its lines unseen.
_HIDDEN = (*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F))
_TABLE = dict.fromkeys((*_HIDDEN, *range(0x2066, 0x206A), 0xFEFF, 0xFFFE, 0xFFFF), "\ufffd")
_TABLE |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # halves of pairs, which no file can have
_TABLE |= {ord("\t"): " ", ord("\r"): " "}
del _TABLE[ord("\n")]


def printable(text: str) -> str:
    """Replaces every such character; the ends of lines stay."""
    return text.translate(_TABLE)


def printable_lines(value: Any) -> Any:
    """Makes every text of plain JSON, keys too, printable and one line long."""
    if isinstance(value, str):
        return printable(value).replace("\n", " ")
    if isinstance(value, dict):
        return {printable_lines(key): printable_lines(inner) for key, inner in value.items()}
    return [printable_lines(inner) for inner in value] if isinstance(value, list) else value
