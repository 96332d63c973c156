"""Reads examples from files of texts, and writes labelled ones.

A table (`.tsv`, `.csv`) begins with a header, whose columns `text`, `label` and `text_pair` are
read in any order and case, beside others that are not. A `.txt` has a text a line, a `.jsonl` an
object, a `.conll` a word with its tag. UTF-8. Anything else is refused with the number of its
line, never guessed at. docs/rows.md has every form.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from osd_edge.data.arguments import as_path
from osd_edge.data.bounded_read import read_bounded
from osd_edge.data.example import Example, expect_examples
from osd_edge.data.files import write_file
from osd_edge.data.json_rows import json_example
from osd_edge.data.labels import check_pairs, with_known_labels
from osd_edge.data.own_errors import let_pass
from osd_edge.data.table_rows import conll_examples, csv_examples, tsv_examples, txt_examples
from osd_edge.errors import Code, DataError

__all__ = [
    "Example",
    "check_pairs",
    "expect_examples",
    "read_examples",
    "with_known_labels",
    "write_tsv",
]


def _jsonl_examples(path: Path, text: str) -> tuple[Example, ...]:
    """The example of each line that is not blank."""
    lines = enumerate(text.split("\n"), 1)
    return tuple(json_example(path, number, line) for number, line in lines if line.strip())


_READERS = {
    ".tsv": tsv_examples,
    ".csv": csv_examples,
    ".txt": txt_examples,
    ".jsonl": _jsonl_examples,
    ".conll": conll_examples,
}
_CONVERTED = {
    ".json": "jq -c '.[]' {0}.json > {0}.jsonl makes a .jsonl of a list",
    ".parquet": "pandas.read_parquet(…).to_csv('{0}.csv', index=False) makes a .csv of it",
    ".arrow": "datasets.Dataset.from_file(…).to_csv('{0}.csv') makes a .csv of it",
    ".xlsx": "a spreadsheet saves it as .csv in UTF-8",
    ".gz": "unpack it first",
}


def read_examples(path: str | Path) -> tuple[Example, ...]:
    """Reads all examples in the file `path`, in their order.

    Args:
        path: A `.tsv` or `.csv` whose header names the columns `text` and `label`, `text`, `label`
            and `text_pair`, or `text` and `text_pair`; a `.txt` with a text a line, without
            labels; a `.jsonl` with an object a line, such as `{"text": …, "label": …}`,
            `{"prompt": …, "completion": …}` or `{"messages": […]}`; or a `.conll` with a word and
            its tag a line. The ending is taken in any case. UTF-8.

    Returns:
        At least one example.

    Raises:
        DataError: `data.missing`, `data.encoding`, `data.kind`, `data.header`, `data.row` or
            `data.empty`; the message has the number of the line.
        InputError: `input.path` for a path that is none.

    >>> from pathlib import Path
    >>> from osd_edge import read_examples
    >>> _ = Path("reviews.tsv").write_text("label\\ttext\\npositive\\ta film of real charm\\n")
    >>> read_examples(Path("reviews.tsv"))[0].label
    'positive'
    """
    path = as_path(path, "path")
    reader = _READERS.get(path.suffix.lower())
    try:
        if reader is None:
            path.stat()  # what is not there at all is said first
            raise _unknown_kind(path)
        text = (read_bounded(path, sys.maxsize) or b"").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            Code.DATA_ENCODING, f"{path} line {where} is not UTF-8: save the file as UTF-8"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: no name that a file can have
        let_pass(error)
        reason = error.strerror if isinstance(error, OSError) else "not a file's name"
        raise DataError(Code.DATA_MISSING, f"cannot read {path}: {reason}") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(Code.DATA_ROW, f"{path} line {line} holds a null byte: save it as text")
    examples = reader(path, text)
    if not examples:
        raise DataError(Code.DATA_EMPTY, f"{path} holds no examples")
    return examples


def write_tsv(examples: Iterable[Example], path: str | Path) -> None:
    """Writes labelled `examples` as a `.tsv` that `read_examples` gives back.

    Args:
        examples: Single texts, each with a label.
        path: The file, which is replaced at once or not at all.

    Raises:
        DataError: `data.row` for a field that holds a tab or a line break, or is missing.
        InputError: `input.path` for a path that is none, `input.type` for other than examples.
        OutputError: The file cannot be written.

    >>> from pathlib import Path
    >>> from osd_edge import Example, read_examples, write_tsv
    >>> examples = (Example("a film of real charm", "positive"), Example("dull", "negative"))
    >>> write_tsv(examples, Path("reviews.tsv"))
    >>> read_examples(Path("reviews.tsv")) == examples
    True
    """
    path = as_path(path, "path")
    rows = [("label", "text")]
    for example in expect_examples(examples):
        fields = (example.label or "", example.text)
        if any(not field.strip() or set(field) & set("\t\r\n") for field in fields):
            raise DataError(Code.DATA_ROW, f"cannot be a row of a .tsv file: {fields!r}")
        rows.append(fields)
    text = _table(rows)
    if [(e.label, e.text) for e in tsv_examples(path, text)] != rows[1:]:
        # Texts that look as if they were quoted: quoted indeed, they are not taken for others.
        text = _table([tuple('"{}"'.format(f.replace('"', '""')) for f in row) for row in rows])
    write_file(path, text.encode())


def _table(rows: Iterable[Sequence[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def _unknown_kind(path: Path) -> DataError:
    advice = _CONVERTED.get(path.suffix.lower())
    return DataError(
        Code.DATA_KIND,
        "expected a table (.tsv, .csv), a text a line (.txt), an object a line (.jsonl) or a word "
        f"a line (.conll), found {path}" + (": " + advice.format(path.stem) if advice else ""),
    )
