"""Tables of examples as people have them: columns in any order and case, quoted or not."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osd_edge import Example, read_examples, write_tsv
from osd_edge.data.labels import with_known_labels
from osd_edge.errors import DataError
from osd_edge.runtime.measures.right_answers import several_labels

FILM = Example("a film of real charm", "positive")
DULL = Example("dull", "negative")
# A field: something besides blanks, and no null byte, which no text has.
FIELDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).filter(
    lambda text: bool(text.strip())
)
QUOTING = st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))


def saved(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "label\ttext\npositive\ta film of real charm\nnegative\tdull\n"),
        ("a.TSV", "Label\tText\r\npositive\ta film of real charm\r\nnegative\tdull\r\n\r\n"),
        ("a.tsv", "\ufefftext\tLABEL\na film of real charm\tpositive\n\ndull\tnegative\n\t\n"),
        (
            "a.tsv",
            "id\tsentence\tlabel\tnote\n1\ta film of real charm\tpositive\t\n2\tdull\tnegative\tx",
        ),
        ("a.tsv", '"label"\t"text"\n"positive"\t"a film of real charm"\n"negative"\t"dull"\n'),
        ("a.csv", "text,label\na film of real charm,positive\ndull,negative\n"),
        (
            "a.Csv",
            ' "text" ,label\n'.replace(' "text" ', '"text"')
            + '"a film of real charm",positive\n"dull",negative',
        ),
        ("a.csv", "Label;Text\npositive;a film of real charm\nnegative;dull\n"),
        ("a.csv", '"label";"text"\n"positive";"a film of real charm"\n"negative";"dull"\n'),
        ("a.csv", '"label"\t"text"\n"positive"\t"a film of real charm"\n"negative"\t"dull"\n'),
        ("a.csv", ",label,text\n0,positive,a film of real charm\n1,negative,dull\n,,\n"),
    ],
)
def test_tables_are_read_in_each_form(tmp_path: Path, name: str, content: str) -> None:
    assert read_examples(saved(tmp_path, name, content)) == (FILM, DULL)


@given(
    st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=5),
    QUOTING,
    st.sampled_from(",;\t"),
)
def test_any_csv_of_pythons_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    quoting: int,
    separator: str,
) -> None:
    returns = any("\r" in field for row in rows for field in row)  # quoted where they end a line
    for end in ("\r\n",) if returns else ("\n", "\r\n"):
        buffer = io.StringIO()
        form: dict[str, Any] = {"quoting": quoting, "delimiter": separator, "lineterminator": end}
        writer = csv.writer(buffer, **form)
        writer.writerows([("label", "text"), *rows])
        path = saved(tmp_path_factory.mktemp("rows"), "a.csv", buffer.getvalue())
        assert [(e.label, e.text) for e in read_examples(path)] == rows


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=5))
def test_a_table_with_tabs_that_quotes_every_field_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, "excel-tab", quoting=csv.QUOTE_ALL)
    writer.writerows([("label", "text"), *rows])
    path = saved(tmp_path_factory.mktemp("rows"), "a.tsv", buffer.getvalue())
    assert [(e.label, e.text) for e in read_examples(path)] == rows


@given(
    st.lists(
        st.tuples(*[st.text('a"é \t'.replace("\t", ""), min_size=1).filter(str.strip)] * 2),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """Also texts that look as if a program had quoted them."""
    path = tmp_path_factory.mktemp("rows") / "a.tsv"
    examples = tuple(Example(text, label) for label, text in rows)
    write_tsv(examples, path)
    assert read_examples(path) == examples


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ('"a ""fine"" film"', 'a "fine" film'),  # what pandas writes
        ('"a film', '"a film'),  # a quote that is one
        ('"a film" he said', '"a film" he said'),
        ('"a film"', '"a film"'),  # who quotes needlessly quotes the header too
    ],
)
def test_quotes_are_taken_off_where_a_program_put_them(
    tmp_path: Path, field: str, text: str
) -> None:
    path = saved(tmp_path, "a.tsv", f"label\ttext\npositive\t{field}\n")
    assert read_examples(path) == (Example(text, "positive"),)


def test_a_text_may_have_no_label_of_several(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.tsv", "text\tLabels\na film\tjoy, love\ndull\t\n")
    examples = read_examples(path)
    labels = ("love", "joy", "anger")
    assert several_labels(path, examples, labels) == [{"joy", "love"}, set()]
    with pytest.raises(DataError, match="line 3 has no label") as refused:
        with_known_labels(path, examples, labels)
    assert refused.value.code == "data.unlabelled"


def test_a_row_without_a_line_is_told_by_its_number() -> None:
    examples = [Example("a film", "joy"), Example("dull", "fear")]
    with pytest.raises(DataError, match="rows row 2: the model does not know"):
        with_known_labels(Path("rows"), examples, ("joy", "love"))


def test_quoted_fields_may_hold_tabs_and_line_breaks(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.tsv", 'label\ttext\npositive\t"a\tfilm\nof charm"\nnegative\tdull\n')
    first, second = read_examples(path)
    assert first.text == "a\tfilm\nof charm"
    assert second.line == 4


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("a.tsv", "positive\ta film\n", "data.header", "line 1: expected a header"),
        ("a.tsv", "text\temotion\na film\tjoy\n", "data.header", "no column label, but emotion"),
        ("a.tsv", "text\tsentence\tlabel\n", "data.header", "both name the text"),
        ("a.tsv", "text\tlabel\n", "data.empty", "no examples"),
        ("a.tsv", "\n\n", "data.empty", "is empty"),
        ("a.tsv", "text\tlabel\n\na\tb\tc\n", "data.row", "line 3: expected 2 fields"),
        ("a.tsv", "label\ttext\n\na\t \n", "data.row", "line 3"),
        ("a.tsv", "text\tlabel\na\rb\tc\n", "data.row", "line 2 holds a stray carriage return"),
        ("a.csv", "review,sentiment\na,b\n", "data.header", "such a line first (label,text)"),
        ("a.csv", 'text,label\na,b\n"c,d\n', "data.row", "line 3: expected fields as Python's csv"),
        ("a.csv", "text,label\na,b\na, film,c\n", "data.row", "line 3: expected 2 fields"),
        ("a.csv", "text,label\na\0,b\n", "data.row", "line 2 holds a null byte"),
        ("a.txt", "Label\tText\npositive\ta film\n", "data.kind", "rename it to a.tsv"),
        ("a.json", "[]", "data.kind", "jq -c"),
        ("a.parquet", "PAR1", "data.kind", "read_parquet"),
        ("a.conll", "EU B-ORG\nrejects\n", "data.row", "line 2: expected a word and its tag"),
    ],
)
def test_others_are_told_what_to_do(
    tmp_path: Path, name: str, content: str, code: str, says: str
) -> None:
    path = saved(tmp_path, name, content)
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert refused.value.code == code
    assert says in str(refused.value)


def test_a_text_a_line_is_taken_whatever_the_case_of_its_ending(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.Txt", "a film\n\nlabel\ttext of a song\n")
    assert [(e.text, e.line) for e in read_examples(path)] == [
        ("a film", 1),
        ("label\ttext of a song", 3),
    ]


def test_sentences_of_a_conll_file_are_words_with_tags(tmp_path: Path) -> None:
    content = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nAda\tB-PER\n"
    first, second = read_examples(saved(tmp_path, "a.conll", content))
    assert (first.text, first.words, first.tags) == (
        "EU rejects",
        ("EU", "rejects"),
        ("B-ORG", "O"),
    )
    assert (second.tags, second.line) == (("B-PER",), 7)
