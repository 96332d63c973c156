"""Options of an export: refused when they are made, frozen, and the same in another process."""

import math
import pickle
from pathlib import Path
from typing import Any

import pytest

from osd_edge.data.examples import Example
from osd_edge.data.progress import silent
from osd_edge.errors import OsdEdgeError
from osd_edge.exporters import BaseOptions, Budget, HeadOptions, TaskExporter, TaskOptions
from osd_edge.exporters.methods.osd_rd.method import OsdRd
from osd_edge.exporters.methods.registry import METHODS, compared, exported


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"method": "zstd"}, "input.method"),
        ({"budget": "junk"}, "budget.malformed"),
        ({"keep": 1.5}, "budget.malformed"),
        ({"keep": 0.9, "budget": "16KiB"}, "input.options"),
        ({"kind": "haiku"}, "input.kind"),
        ({"refine": "all"}, "input.refine"),
        ({"method": "osd", "values": "bf16"}, "input.values"),
        ({"method": "osd", "extra_rank": -1}, "input.extra-rank"),
        ({"base_weights": "int2"}, "input.weights"),
        ({"seed": -1}, "input.number"),
        ({"complete": 16}, "input.options"),  # without prompts to complete
        ({"name": "a/b"}, "input.task-name"),
        ({"method": "osd", "values": 1}, "input.values"),
        ({"kind": []}, "input.kind"),
        ({"labels": 5}, "input.options"),
        ({"method": "osd", "head": "fp16"}, "input.options"),
        ({"budget": 0.5}, "budget.malformed"),
    ],
)
def test_a_value_that_is_none_is_refused(given: dict[str, Any], code: str) -> None:
    with pytest.raises(OsdEdgeError) as refusal:
        TaskOptions(base="base", tuned="tuned", **given)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("method", "given", "flag"),
    [
        ("osd-rd", {"values": "int8"}, "--values"),
        ("osd-rd", {"head": HeadOptions()}, "--head-values or --head-rank"),
        ("truncsvd", {"extra_rank": 2}, "--extra-rank"),
        ("truncsvd", {"keep": 0.9}, "--keep"),
        ("head", {"budget": "16KiB"}, "--budget"),
        ("head", {"sites": ["*.attention.*"]}, "--sites"),
        ("osd", {"base_weights": "int8"}, "--base-weights"),
    ],
)
def test_an_option_of_another_method_is_refused_by_its_flag(
    method: str, given: dict[str, Any], flag: str
) -> None:
    with pytest.raises(OsdEdgeError) as refusal:
        TaskOptions(base="base", tuned="tuned", method=method, **given)
    assert refusal.value.code == "input.options"
    assert str(refusal.value).startswith(f"--method {method} does not take {flag}")


def test_options_are_the_same_in_another_process() -> None:
    rows = [Example("a cat", None)]
    options = TaskOptions(base="b", tuned="t", calibration=rows, labels=["x"], sites=["*.0.*"])
    rows.append(Example("a dog", None))
    assert options.calibration == (Example("a cat", None),)
    assert pickle.loads(pickle.dumps(options)) == options


def test_one_value_stands_for_several() -> None:
    options = TaskOptions(base="b", tuned="t", calibration="rows.txt", sites="*.0.*")
    assert (options.calibration, options.sites) == (Path("rows.txt"), ("*.0.*",))
    assert BaseOptions(sites=["*"]) == BaseOptions(sites="*")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"values": "bf16"}, "input.values"),
        ({"rank": 0}, "input.number"),
        ({"rank": "x"}, "input.number"),
        ({"max_bytes": -1}, "input.number"),
    ],
)
def test_values_of_a_head_are_checked(given: dict[str, Any], code: str) -> None:
    with pytest.raises(OsdEdgeError) as refusal:
        HeadOptions(**given)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "given", [{}, {"rank": 1.0, "size": 3}, {"rank": math.nan}, {"size": 0}, {"rank": math.inf}]
)
def test_a_budget_is_one_of_two_and_more_than_nothing(given: dict[str, Any]) -> None:
    with pytest.raises(OsdEdgeError) as refusal:
        Budget(**given)
    assert refusal.value.code == "budget.malformed"


def test_a_file_over_its_budget_is_refused(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller checks the size, so a method that misjudges it writes nothing."""
    exporter = TaskExporter(tiny_models / "base", tiny_models / "first")
    made = OsdRd().make(exporter.source, "t", exporter.source.options, silent)
    monkeypatch.setattr(OsdRd, "make", lambda *_: made)
    with pytest.raises(OsdEdgeError) as refusal:
        exporter.export(tmp_path / "t.osd.safetensors", budget="1KiB")
    assert refusal.value.code == "budget.too-small" and not any(tmp_path.iterdir())


def test_a_method_refuses_what_it_cannot_meet_however_it_is_called(
    tiny_models: Path, tmp_path: Path
) -> None:
    exporter = TaskExporter(tiny_models / "base", tiny_models / "first")
    for given in ({"method": "head"}, {"keep": 0.9}, {"refine": "codes"}):
        with pytest.raises(OsdEdgeError) as refusal:
            exporter.export(tmp_path / "t.osd.safetensors", **given)
        assert refusal.value.code == "data.calibration-needed"
    assert not any(tmp_path.iterdir())


def test_comparisons_know_our_methods_first_and_each_of_them() -> None:
    assert list(compared())[:4] == ["osd-rd", "osd-rd-none", "osd-rd-codes", "head"]
    assert set(exported()) <= set(METHODS)
    assert {entry.name for entry, _ in compared().values()} == set(METHODS)
