"""The part of a file that a `Range` header asks for."""

import re

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE | re.ASCII)


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Reads the one range that a header asks for: begin and end, equal where no byte is in it.

    Gives None for whatever is no single range of bytes: such a header is passed over
    (RFC 9110, 14.2).

    >>> parse_range("bytes=2-", 10), parse_range("bytes=-3", 10), parse_range("bytes=10-", 10)
    ((2, 10), (7, 10), (10, 10))
    """
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match[1], match[2]
    if first == "":
        begin, end = max(size - int(last), 0), size
    elif last == "":
        begin, end = int(first), size
    elif int(first) <= int(last):
        begin, end = int(first), int(last) + 1
    else:
        return None
    return min(begin, size), min(end, size)
