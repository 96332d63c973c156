"""A report with any value in any place: it is refused, or all that is made of it is whole."""

import copy
import csv
import io
import json
import random
import re
from collections.abc import Iterator
from typing import Any

from osd_edge.cli.bench import describe, describe_comparison
from osd_edge.device_tests import to_csv, to_html, to_markdown
from osd_edge.device_tests.report.check import parse_report
from osd_edge.device_tests.report.compare import compare
from osd_edge.device_tests.report.schema import Report
from osd_edge.errors import OsdEdgeError
from tests.support.reports import made_up, spread

MUTANTS = 500
EVIL = "<script>alert(1)</script>\"'&\x1b[31m\x00\x9b\u202eEVIL![a](b)\n=1+1"
VALUES: list[Any] = [
    *(None, True, 0, -1, 5, 10**12, 10**17, -(10**17), 10**400, 1e308, 5e-324, 1e-50, -0.0, 0.5),
    *(float("nan"), float("inf"), "", EVIL, "\ud800", "x" * 5000, "=1", [], {}, [[]], [EVIL]),
    *(spread(0), spread(1e-59, 0), spread(1e17, 0), {"n": 1, "p50": 1, "p10": 0, "p90": 2}),
    *({"n": 1, "p50": 1, "p10": 1, "p90": -1}, {"n": 0, "p50": -3}, {"n": 1, "p50": 0}),
    *({"task": EVIL}, {EVIL: 1}, {"tasks": 0}, {"swaps": 0}, {"tasks": "x"}, {EVIL: EVIL}),
    *("passed", "done", "today", "emulated", "browser", "withheld", "2026-01-01T00:00:00Z"),
]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else ()
    for key, part in enumerate(value) if isinstance(value, list) else inner:
        yield from _paths(part, (*path, key))


def _mutate(report: Any, path: tuple[Any, ...], chance: random.Random) -> None:
    *way, last = path
    for step in way:
        report = report[step]
    how = chance.random()
    if how < 0.1:
        del report[last]
    elif how < 0.2 and isinstance(report, dict):
        report[chance.choice([EVIL, "new_ms", "new_bytes", "\ud800"])] = report.pop(last)
    else:
        report[last] = copy.deepcopy(chance.choice(VALUES))


def _check_outputs(report: Report) -> None:
    json.dumps(report, allow_nan=False).encode()
    html, table, markdown = to_html(report), to_csv(report), to_markdown(report)
    terminal = describe(report) + describe_comparison(compare(report, report))
    terminal += describe_comparison(compare(report, made_up()))
    terminal += describe_comparison(compare(made_up(), report))
    for text in (html, table, markdown, terminal):
        text.encode()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert not re.search(r"(?<![a-z])[-+]?(nan|inf)(?![a-z])", text, re.IGNORECASE)
    assert "<script" not in html and "<script" not in markdown and "![a](b)" not in markdown
    for row in csv.reader(io.StringIO(table)):
        assert not any(re.match(r"[=+@]|-(?!\d)", cell) for cell in row), row


def test_a_mutant_is_refused_or_everything_can_be_made_of_it() -> None:
    chance = random.Random(11)
    whole = json.loads(json.dumps(made_up()))
    paths = list(_paths(whole))
    accepted = 0
    for _ in range(MUTANTS):
        mutant = copy.deepcopy(whole)
        _mutate(mutant, chance.choice(paths), chance)
        try:
            report = parse_report(json.dumps(mutant))
        except OsdEdgeError as error:
            assert error.code.startswith("report.") and str(error).isprintable()
        else:
            accepted += 1
            _check_outputs(report)
    assert accepted > MUTANTS / 10
