"""Python and JavaScript on the same inputs: what counts as a difference."""

import json
from pathlib import Path
from typing import Any

import pytest

from fuzz.javascript import JavaScriptReader, compare, missing
from fuzz.outcome import Fault, Observed
from fuzz.targets import seeds
from fuzz.targets.table import TARGETS
from osd_edge.errors import BaseError, BundleError
from osd_edge.formats.package.manifest_reader import VERSIONS, parse_manifest

SAME = {"seconds": 0.0, "facts": {"task": "a", "sites": []}}
ACCEPTED = Observed("accepted", (), {"task": "a", "sites": []})
VECTOR = {"name": "encoder.bias", "n": 4, "input": "encoder.bias.delta"}


def test_equal_answers_are_no_finding() -> None:
    compare(b"", ACCEPTED, SAME)
    compare(b"", Observed("bundle.head"), {"seconds": 0.0, "code": "bundle.head"})


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ({"crash": "TypeError"}, "the JavaScript reader fails"),
        (SAME | {"seconds": 60.0}, "the JavaScript reader takes long"),
        (
            {"seconds": 0.0, "code": "bundle.head", "message": ""},
            "JavaScript: bundle.head, Python: accepted",
        ),
        (
            {"seconds": 0.0, "facts": {"task": "b", "sites": []}},
            "JavaScript and Python differ in task",
        ),
    ],
)
def test_other_answers_are_findings(answer: dict[str, Any], title: str) -> None:
    with pytest.raises(Fault) as finding:
        compare(b"", ACCEPTED, answer)
    assert finding.value.title == title


def test_the_code_of_a_header_that_nests_too_deeply_is_left_to_the_parser() -> None:
    answer = {"seconds": 0.0, "code": "bundle.tensor-entry", "message": ""}
    outcome = Observed("bundle.header-json")
    compare(bytes(8) + b'{"a":' * 40, outcome, answer)
    with pytest.raises(Fault):
        compare(bytes(8) + b'{"a":' * 4, outcome, answer)


@pytest.mark.parametrize("unused", [{"mixed_rows": 1}, {"vectors": [VECTOR]}])
def test_a_manifest_may_be_wrong_where_javascript_does_not_look(unused: dict[str, Any]) -> None:
    fields = json.loads(seeds.base_manifest())
    outcome = Observed("base.manifest")
    answer: dict[str, Any] = {"seconds": 0.0, "facts": {}}
    with pytest.raises(BaseError):
        parse_manifest(json.dumps(fields | unused))
    compare(json.dumps(fields | unused).encode(), outcome, answer)
    with pytest.raises(Fault):
        compare(json.dumps(fields | {"family": 1}).encode(), outcome, answer)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_that_python_alone_reads_is_no_fault(version: int) -> None:
    fields = json.loads(seeds.base_manifest()) | {"format": version}
    answer = {"seconds": 0.0, "code": "base.version", "message": ""}
    for outcome in (ACCEPTED, Observed("base.manifest")):
        if version > VERSIONS[0]:
            compare(json.dumps(fields).encode(), outcome, answer)
            continue
        with pytest.raises(Fault):
            compare(json.dumps(fields).encode(), outcome, answer)


@pytest.mark.skipif(bool(missing()), reason=missing() or "never")
def test_both_readers_say_the_same_of_every_seed(tmp_path: Path) -> None:
    reader = JavaScriptReader("bundle")
    run = TARGETS["bundle"].opened(tmp_path)
    files = seeds.bundles()
    for data, answer in zip(files, reader.answers(files), strict=True):
        try:
            outcome = run(data)
        except BundleError as error:
            outcome = Observed(str(error.code))
        compare(data, outcome, answer)
    reader.close()
