"""The command line from two checkpoints to an answer, and what its files hold."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.numpy

from osd_edge.cli.export import export
from osd_edge.exporters import TaskExporter, export_task
from osd_edge.exporters.methods.budget import VALUE_BITS
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.registry import exported
from osd_edge.formats.bundle.plain import VALUE_TYPES
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.package.manifest_reader import read_manifest
from tests.support import tiny
from tests.support.command_line import run_cli
from tests.support.packages import SMALL

Capture = pytest.CaptureFixture[str]


def test_the_whole_path(tiny_models: Path, tmp_path: Path, capsys: Capture) -> None:
    base, bundle = tmp_path / "base", tmp_path / "colours.osd.safetensors"
    data = tiny_models / "examples.tsv"
    done = run_cli(capsys, "export", "base", tiny_models / "base", "-o", base, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["branches"] == json.loads(done.out)["sites"] == 13
    done = run_cli(
        capsys,
        *("export", "task", "--base", tiny_models / "base", "--tuned", tiny_models / "first"),
        *("--calibration", data, "--method", "osd", "--budget", "r=2", "-o", bundle, "--json"),
    )
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["size"] == bundle.stat().st_size
    assert report["paper_bits"] <= report["paper_bits_allowed"]
    assert report["compressed"]["accuracy"] <= 1
    assert run_cli(capsys, "verify", bundle, "--base", base).code == 0
    shown = json.loads(run_cli(capsys, "inspect", bundle, "--json").out)
    assert shown["task"] == "colours"
    assert sum(shown["bytes"].values()) == 2 * bundle.stat().st_size
    assert shown["method"]["paper_bits"] == report["paper_bits"]
    done = run_cli(
        capsys, "run", "--base", base, "--bundle", bundle, "--text", "the cat sat", "--json"
    )
    (answer,) = json.loads(done.out)
    assert answer["task"] == "colours" and answer["label"] in tiny.LABELS
    done = run_cli(capsys, "evaluate", "--base", base, "--bundle", bundle, "--data", data, "--json")
    result = json.loads(done.out)
    assert set(result) == {"task", "accuracy", "examples"}
    assert result["examples"] == 24
    assert result["accuracy"] == pytest.approx(report["compressed"]["accuracy"])


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("sequence", "file    number 41 of its task"),
        ("signed", "signed  by key 487ebee71699768d; whether it holds was not checked"),
        ("text", "text    at most 128 tokens, cut on the left, behind the prompt 'query: '"),
        ("probe", "probe   cases 4, tolerance 0.01"),
        ("vectors", "vectors 4 of the base's biases and norms, 26 numbers"),
    ],
)
def test_inspect_names_what_a_bundle_need_not_have(case: str, line: str, capsys: Capture) -> None:
    vectors = Path(__file__).parents[2] / "vectors" / "v1" / "valid"
    shown, without = (
        run_cli(capsys, "inspect", vectors / f"{name}.osd.safetensors").out.splitlines()
        for name in (case, "tiny")
    )
    assert line in shown
    assert not any(other.startswith(line[:8]) for other in without)


def test_inspect_names_sites_where_it_is_given_their_base(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], capsys: Capture
) -> None:
    names = [site.name for site in read_manifest(tiny_base).sites]
    bundle = tiny_bundles[0]
    told = json.loads(run_cli(capsys, "inspect", bundle, "--base", tiny_base, "--json").out)
    assert [site["name"] for site in told["sites"]] == [names[s["site"]] for s in told["sites"]]
    parts = told["bytes"]
    stored = parts["values"] + parts["positions"] + parts["scales"]
    assert sum(site["bytes"] for site in told["sites"]) == stored
    assert sum(layer["bytes"] for layer in told["head_layers"]) == parts["head"]
    (layer,) = told["head_layers"]
    assert (layer["n"], layer["rank"]) == (len(tiny.LABELS), 0)
    table = run_cli(capsys, "inspect", bundle, "--base", tiny_base).out
    assert all(name in table for name in names) and "head.0" in table
    alone = json.loads(run_cli(capsys, "inspect", bundle, "--json").out)
    assert [site["name"] for site in alone["sites"]] == [None] * len(names)
    other = run_cli(capsys, "inspect", bundle, "--base", SMALL)
    assert other.code == 1 and "[bundle.base]" in other.err


def test_people_get_tables(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], tiny_models: Path, capsys: Capture
) -> None:
    inspected = run_cli(capsys, "inspect", tiny_bundles[0])
    assert "density U" in inspected.out and "labels  red, green, blue" in inspected.out
    bundles = [word for path in tiny_bundles for word in ("--bundle", path)]
    ran = run_cli(capsys, "run", "--base", tiny_base, *bundles, "--text", "a dog", "--text", "mat")
    assert [line.split()[-3] for line in ran.out.splitlines()[2:]].count("first") == 2
    data = tiny_models / "examples.tsv"
    evaluated = run_cli(
        capsys, "evaluate", "--base", tiny_base, "--bundle", tiny_bundles[0], "--data", data
    )
    assert "of 24 examples right" in evaluated.out


@pytest.fixture(scope="module")
def exporter(tiny_models: Path) -> TaskExporter:
    return TaskExporter(
        tiny_models / "base",
        tiny_models / "first",
        calibration=tiny_models / "examples.tsv",
    )


@pytest.mark.parametrize("method", ["truncsvd", "magtruncsvd", "osd"])
@pytest.mark.parametrize("values", ["fp32", "fp16", "int8"])
def test_budgets_hold_and_are_used(
    exporter: TaskExporter, tmp_path: Path, method: str, values: str
) -> None:
    path = tmp_path / "task.osd.safetensors"
    report = exporter.export(path, method=method, budget="9KiB", values=values)
    assert 8 * 1024 < report.size == path.stat().st_size <= 9 * 1024
    report = exporter.export(path, method=method, budget="r=1", values=values)
    assert report.paper_bits is not None and report.paper_bits_allowed is not None
    # whole columns only: of int8 ones, with their scale, three fill 79 % of r = 1
    assert 0.75 * report.paper_bits_allowed < report.paper_bits <= report.paper_bits_allowed


_SHORT = """
from osd_edge.cli.main import main
from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
from tests.support.training import in_few_steps

REFINEMENTS.update(in_few_steps())
main()
"""


@pytest.mark.slow(reason="trains a task twice, each time in a process of its own")
def test_equal_inputs_give_equal_bytes(tiny_models: Path, tmp_path: Path) -> None:
    """In two processes, since hash order and thread timing differ between processes."""
    files = []
    for i in range(2):
        files.append(tmp_path / f"{i}" / "task.osd.safetensors")
        files[-1].parent.mkdir()
        subprocess.run(
            [
                *(sys.executable, "-c", _SHORT, "export", "task"),
                *("--base", tiny_models / "base", "--tuned", tiny_models / "first"),
                *("--calibration", tiny_models / "examples.tsv", "--budget", "12KiB"),
                *("-o", files[-1]),
            ],
            check=True,
            capture_output=True,
            cwd=Path(__file__).parents[2],
        )
    assert files[0].read_bytes() == files[1].read_bytes()


def test_any_safetensors_reader_opens_a_bundle(tiny_bundles: tuple[Path, Path]) -> None:
    tensors = safetensors.numpy.load_file(tiny_bundles[0])
    assert "osd.sites" in tensors


def test_an_unlabelled_set_scores_agreement(tiny_models: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(tiny.sentences(20)), "utf-8")
    report = export_task(
        tiny_models / "base",
        tiny_models / "first",
        tmp_path / "task.osd.safetensors",
        method="magtruncsvd",
        calibration=texts,
    )
    assert not report.labelled
    assert report.fine_tuned is not None and report.fine_tuned.accuracy == 1
    assert report.fine_tuned.loss == pytest.approx(0, abs=1e-6)
    assert report.compressed is not None and report.compressed.loss > 0


def test_chosen_sites_get_the_only_branches(
    tiny_models: Path, tmp_path: Path, capsys: Capture
) -> None:
    base, bundle = tmp_path / "base", tmp_path / "task.osd.safetensors"
    chosen = ("--sites", "*.attention.*", "--sites", "pooler.*")
    done = run_cli(capsys, "export", "base", tiny_models / "base", "-o", base, *chosen, "--json")
    assert json.loads(done.out)["branches"] == 9
    models = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    options = ("--method", "truncsvd", "-o", bundle)
    assert run_cli(capsys, "export", "task", *models, *options, *chosen).code == 0
    assert len(read_bundle_file(bundle).sites) == 9
    assert run_cli(capsys, "verify", bundle, "--base", base).code == 0
    assert run_cli(capsys, "export", "task", *models, *options).code == 0
    refused = run_cli(capsys, "verify", bundle, "--base", base)
    assert refused.code == 1 and "[bundle.site-branch]" in refused.err


def test_the_command_line_offers_what_the_exporters_know() -> None:
    shown = {option.name: option for option in export.commands["task"].params}
    for method in exported():
        assert shown["method"].type.convert(method, None, None) == method
    fields = {field.name for field in dataclasses.fields(TaskOptions)} - {"head"}
    assert fields <= set(shown)
    assert set(VALUE_TYPES) == set(VALUE_BITS)
