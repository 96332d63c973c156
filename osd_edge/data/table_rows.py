"""Reads examples from the text of a table: `.tsv`, `.csv`, `.txt` and `.conll`."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from osd_edge.data.columns import LABEL, PAIR, TEXT, roles_of
from osd_edge.data.example import Example
from osd_edge.data.quoted_rows import QuoteError, TableRow, plain_rows, quoted_rows
from osd_edge.errors import Code, DataError, InputError, shown

_SEPARATORS = (",", ";", "\t")  # of a .csv: some spreadsheets write the second
_HEADERS = {".tsv": "label<TAB>text"}
_SEVERAL = "labels"  # as the column of several labels is often called


def tsv_examples(path: Path, text: str) -> tuple[Example, ...]:
    """The examples of a table with tabs between its columns, quoted or not."""
    return _examples(path, _tsv_rows(path, text), text)


def csv_examples(path: Path, text: str) -> tuple[Example, ...]:
    """The examples of a table with quoted fields; its separator is the one that its header has."""
    try:
        rows = list(quoted_rows(text, _separator(text)))
    except QuoteError as error:
        raise DataError(
            Code.DATA_ROW,
            f"{path} line {error.line}: expected fields as Python's csv writes them, found a "
            "quote that is not closed or something behind it; quotes within a field are doubled",
        ) from error
    return _examples(path, rows, text)


def txt_examples(path: Path, text: str) -> tuple[Example, ...]:
    """The texts of a file with one a line; refuses one that begins as a table does."""
    check_line_breaks(path, text)
    rows = [(number, line) for number, (line,) in plain_rows(text, "\n")]
    if rows and "\t" in rows[0][1] and {TEXT, LABEL} <= _roles(rows[0][1].split("\t")).keys():
        raise DataError(
            Code.DATA_KIND,
            f"{path} begins with the header of a table, and a .txt has a text a line: rename it "
            f"to {path.stem}.tsv",
        )
    return tuple(Example(line, line=number) for number, line in rows)


def conll_examples(path: Path, text: str) -> tuple[Example, ...]:
    """The sentences of a file with a word a line, its tag in the last column, and blanks between.

    Columns have tabs or blanks between them; lines that begin with -DOCSTART- are left out.
    """
    found: list[Example] = []
    words: list[str] = []
    tags: list[str] = []
    begun = 1
    for number, line in enumerate([*text.split("\n"), ""], 1):
        fields = line.split()
        if not fields or fields[0] == "-DOCSTART-":
            if words:
                found.append(Example(" ".join(words), words=words, tags=tags, line=begun))
            words, tags, begun = [], [], number + 1
            continue
        if len(fields) < 2:
            raise DataError(
                Code.DATA_ROW,
                f"{path} line {number}: expected a word and its tag, found {shown(line, 60)!r}",
            )
        words.append(fields[0])
        tags.append(fields[-1])
    return tuple(found)


def check_line_breaks(path: Path, text: str) -> None:
    """Refuses (`data.row`) line breaks of systems long gone."""
    for number, line in enumerate(text.split("\n"), 1):
        if "\r" in line.removesuffix("\r"):
            raise DataError(Code.DATA_ROW, f"{path} line {number} holds a stray carriage return")


def _tsv_rows(path: Path, text: str) -> Iterable[TableRow]:
    """The rows of a `.tsv`, which some programs quote and others do not.

    Most write fields as they are. One that quotes has doubled each quote within a field, and
    quoted the fields of the header where it quotes all: whatever does not look so is as it is.
    """
    plain = list(plain_rows(text, "\t"))
    if '"' in text and plain:
        try:
            quoted = list(quoted_rows(text, "\t"))
        except QuoteError:
            quoted = []
        if quoted and _is_quoted(plain, quoted):
            return quoted
    check_line_breaks(path, text)
    return plain


def _is_quoted(plain: Sequence[TableRow], quoted: Sequence[TableRow]) -> bool:
    """Says whether a table that may be read either way was quoted by the program that wrote it."""
    width = len(quoted[0][1])
    if any(len(fields) != width for _, fields in quoted):
        return False
    uneven = any(len(fields) != width for _, fields in plain)
    header = any(field.startswith('"') for field in plain[0][1])
    fields = (field for _, row in plain for field in row)
    return uneven or header or any(f.startswith('"') and '""' in f[1:-1] for f in fields)


def _separator(text: str) -> str:
    """The separator by which the first row names a column of texts; a comma where none does."""
    for separator in _SEPARATORS:
        with suppress(QuoteError):
            _, header = next(quoted_rows(text, separator), (0, []))
            if TEXT in _roles(header):
                return separator
    return _SEPARATORS[0]


def _roles(header: Sequence[str]) -> dict[str, int]:
    try:
        return roles_of(_one_label(header))[0]
    except ValueError:
        return {}


def _one_label(header: Sequence[str]) -> list[str]:
    """The header with a column `labels` as `label`, unless there is one of that name too."""
    plain = [column.strip().lower() for column in header]
    other = LABEL in plain or plain.count(_SEVERAL) != 1
    return [
        c if other or name != _SEVERAL else LABEL for c, name in zip(header, plain, strict=True)
    ]


def _examples(path: Path, rows: Iterable[TableRow], text: str) -> tuple[Example, ...]:
    """The examples of rows the first of which is the header."""
    rows = list(rows)
    if not rows:
        raise DataError(Code.DATA_EMPTY, f"{path} is empty")
    (line, header), *rows = rows
    header = _one_label(header)
    roles = _checked_roles(path, line, header, text)
    examples = []
    for number, fields in rows:
        if not any(field.strip() for field in fields):
            continue  # spreadsheets end with such rows
        # A label may be empty: a text may have none of several.
        filled = (fields[i].strip() for role, i in roles.items() if role != LABEL)
        if len(fields) != len(header) or not all(filled):
            raise DataError(
                Code.DATA_ROW,
                f"{path} line {number}: expected {len(header)} fields, as the header has, and "
                f"something in {' and '.join(r for r in roles if r != LABEL)}; found "
                f"{len(fields)}: "
                f"{shown(' | '.join(fields), 60)!r}",
            )
        named = {role: fields[i] for role, i in roles.items()}
        try:
            examples.append(Example(named[TEXT], named.get(LABEL), named.get(PAIR), line=number))
        except InputError as error:  # half of a surrogate pair
            raise DataError(Code.DATA_ROW, f"{path} line {number}: {error}") from error
    return tuple(examples)


def _checked_roles(path: Path, line: int, header: Sequence[str], text: str) -> dict[str, int]:
    """The column of each role; refuses (`data.header`) a first row that does not name them."""
    first = shown(text.lstrip().partition("\n")[0].rstrip(), 60)
    where, example = f"{path} line {line}", _HEADERS.get(path.suffix.lower(), "label,text")
    try:
        roles, others = roles_of(header)
    except ValueError as error:
        raise DataError(Code.DATA_HEADER, f"{where}: {error}") from error
    if TEXT in roles and LABEL not in roles and others:
        raise DataError(
            Code.DATA_HEADER,
            f"{where}: no column label, but {', '.join(shown(o, 30) for o in others[:4])}: name "
            "the one with the right answers label, or leave it out",
        )
    if TEXT not in roles or len(roles) < 2:
        raise DataError(
            Code.DATA_HEADER,
            f"{where}: expected a header that names the columns text and label, found {first!r}: "
            f"name them so there, or put such a line first ({example}); texts alone, one a line, "
            "are a .txt",
        )
    return roles
