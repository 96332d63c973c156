"""Reads and writes byte sizes as people do: `16KiB`, `1.5MB`, `4096`."""

import re

from osd_edge.errors import Code, InputError

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
LARGEST_SIZE = 2**40
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Reads a size such as `16KiB` or `1.5MB` as bytes; raises InputError `input.size`.

    >>> parse_size("16KiB"), parse_size("1.5MB")
    (16384, 1500000)
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in _UNITS:
        raise InputError(
            Code.INPUT_SIZE, f"expected a size such as 16KiB, 1.5MB or 4096, found {text!r}"
        )
    size = float(match[1]) * _UNITS[match[2].lower()]
    if size > LARGEST_SIZE:
        raise InputError(Code.INPUT_SIZE, f"expected a size of at most 1 TiB, found {text[:40]!r}")
    return int(size)


def format_size(size: float) -> str:
    """Writes `size` bytes for people.

    >>> format_size(812), format_size(16_282), format_size(1_468_006)
    ('812 B', '15.9 KiB', '1.4 MiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
