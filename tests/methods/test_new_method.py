"""A compression method is a file and a line in the registry, and nothing else is edited for it."""

import json
from pathlib import Path

import numpy as np
import pytest

from osd_edge.exporters import export_task
from osd_edge.exporters.methods.registry import METHODS, MethodEntry
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession
from tests.support.command_line import run_cli

FILE = '''
"""first-column: the leading column of every delta, in fp16."""

from osd_edge.exporters.methods.base import Method
from osd_edge.exporters.methods.factorize import truncated_svd
from osd_edge.exporters.methods.head_options import HeadOptions
from osd_edge.exporters.methods.made import Made
from osd_edge.exporters.methods.stored.head import stored_head
from osd_edge.exporters.methods.stored.values import stored_site


class FirstColumn(Method):
    def make(self, source, task, options, progress):
        models, sites = source.models, []
        for layer in progress(source.layers, "First columns"):
            column = truncated_svd(source.delta(layer.name), 1)
            sites.append(stored_site(source.site_index[layer.name], column.u, column.v, "fp16"))
        head = stored_head(models.tuned, models.head, options.head or HeadOptions())
        bundle = source.bundle(task, "fp16", head, {"name": options.method}, sites)
        return Made(bundle)
'''
LINE = MethodEntry("first-column", "first_column:FirstColumn", budget="1MiB", exports=True)


@pytest.fixture(autouse=True)
def first_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first_column.py").write_text(FILE, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(METHODS, LINE.name, LINE)


def test_it_is_exported_by_command_and_runs(
    capsys: pytest.CaptureFixture[str], tiny_models: Path, tiny_base: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "first.osd.safetensors"
    models = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    done = run_cli(
        *(capsys, "export", "task", *models, "--method", "first-column"),
        *("-o", bundle, "--json"),
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["size"] == bundle.stat().st_size
    session = EdgeSession(tiny_base)
    session.load(bundle)
    inputs = session.encode(["the cat sat"])
    task, base = session.run(inputs, task="first"), session.run(inputs, task=None)
    assert task.logits is not None and np.abs(task.hidden - base.hidden).max() > 1e-3
    helped = run_cli(capsys, "export", "task", "--help")
    assert "first-column" in helped.out
    refused = run_cli(
        *(capsys, "export", "task", *models, "--method", "first-column"),
        *("--refine", "none", "-o", bundle),
    )
    assert refused.code == 1
    assert (
        "--method first-column does not take --refine: leave it out [input.options]" in refused.err
    )


def test_it_takes_part_in_comparisons(
    capsys: pytest.CaptureFixture[str], tiny_models: Path, tmp_path: Path
) -> None:
    rows = tiny_models / "examples.tsv"
    done = run_cli(
        *(capsys, "compare", "--base", tiny_models / "base", "--tuned", tiny_models / "first"),
        *("--calibration", rows, "--test", rows, "--methods", "first-column,zstd"),
        *("--budgets", "64KiB", "--probe", "0.3", "-o", tmp_path / "out", "--json"),
    )
    assert done.code == 0, done.err
    ours, _ = json.loads(done.out)["points"]
    assert (ours["method"], ours["refused"]) == ("first-column", None)
    assert ours["detail"]["sites"] == 13 and 0 <= ours["accuracy"] <= 1


def test_python_takes_it_by_name(tiny_models: Path, tmp_path: Path) -> None:
    path = tmp_path / "first.osd.safetensors"
    base, tuned = tiny_models / "base", tiny_models / "first"
    report = export_task(base, tuned, path, method="first-column")
    assert report.sites == len(read_bundle_file(path).sites) == 13
