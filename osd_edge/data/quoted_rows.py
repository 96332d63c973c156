"""Splits tables of text into rows and fields, quoted as spreadsheets and Python's csv quote them.

A field that begins with `"` ends with the next one that is not doubled, and may hold separators,
line breaks and, doubled, quotes. Python's own reader bounds fields by a setting that a whole
process shares, and does not say where a row begins.
"""

import re
from collections.abc import Iterator
from functools import cache

TableRow = tuple[int, list[str]]  # the number of its first line, and its fields


class QuoteError(ValueError):
    """A field whose quotes are not closed, or that is followed by something else than its end."""

    def __init__(self, line: int) -> None:
        """Take the number of the line on which the field begins."""
        super().__init__(line)
        self.line = line


def quoted_rows(text: str, separator: str) -> Iterator[TableRow]:
    """Splits `text`; rows without a character are left out. Raises QuoteError."""
    at, line, fields, begun = 0, 1, list[str](), 1
    pattern = _pattern(separator)
    while at <= len(text):
        found = pattern.match(text, at)
        if found is None:
            raise QuoteError(line)
        quoted, plain, end = found.groups()
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        line += found[0].count("\n")
        at = found.end()
        if end != separator:
            if fields != [""]:
                yield begun, fields
            fields, begun = [], line
            if not end:
                return


def plain_rows(text: str, separator: str) -> Iterator[TableRow]:
    """Splits `text` at line breaks and separators alone; blank lines are left out."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if line.strip():
            yield number, line.split(separator)


@cache
def _pattern(separator: str) -> re.Pattern[str]:
    """One field with what ends it: the separator, a line break or the end of the text."""
    mark = re.escape(separator)
    return re.compile(rf'(?:"((?:[^"]++|"")*+)"|([^"\r\n{mark}][^\r\n{mark}]*|))({mark}|\r?\n|\Z)')
