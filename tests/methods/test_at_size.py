"""What large models are spared: whole weights in memory, full decompositions, starting again.

Tiny models are taken for large ones here, so that what is compared is known exactly.
"""

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from benchmarks import at_size, at_size_models
from osd_edge.errors import BudgetError, Code, ModelError, OutputError
from osd_edge.exporters import export_task, export_tasks
from osd_edge.exporters import task as task_bundle
from osd_edge.exporters.methods.osd_rd import compress, leading, moments, sites, whitening
from osd_edge.exporters.methods.osd_rd.feedback import metric_of
from osd_edge.exporters.methods.osd_rd.moments import RunningMoment, Sketch, part, times
from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
from osd_edge.exporters.methods.osd_rd.statistics import Statistics
from osd_edge.exporters.methods.osd_rd.whitening import whitened_svd
from osd_edge.exporters.models import large as large_models
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import LINEAR_ONLY
from osd_edge.formats.bundle.reader import read_bundle_file
from tests.methods.test_rate_distortion import damage, random, some_statistics
from tests.support import tiny
from tests.support.command_line import run_cli


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every model is a large one."""
    monkeypatch.setattr(large_models, "LARGE", 0)
    return monkeypatch


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_streamed_model_gives_the_same_bundle(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calibrated: bool
) -> None:
    # Large models take smaller batches, and products in bfloat16: the one difference.
    monkeypatch.setattr(compress, "_STREAMED_BATCH", 16)
    monkeypatch.setattr(compress, "training_dtype", lambda: torch.float32)
    calibration = tiny_models / "examples.tsv" if calibrated else None
    found = []
    for threshold in (large_models.LARGE, 0):
        monkeypatch.setattr(large_models, "LARGE", threshold)
        found.append(_exported(tiny_models, tmp_path, calibration=calibration))
    assert found[0] == found[1]
    assert [path.name for path in tmp_path.iterdir()] == ["t.osd.safetensors"]


@pytest.mark.parametrize("family", ["bert", "gpt2", "albert", "deberta-v2"])
def test_osd_takes_gradients_of_weights_that_are_not_there(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last two use a layer more than once: the gradient is the sum over its uses.
    base = tiny.make_base(family, tmp_path / "base")
    tuned = tiny.make_tuned(base, tmp_path / "tuned")
    rows = tiny.write_tsv(tmp_path / "rows.tsv")
    out = tmp_path / "t.osd.safetensors"
    found = []
    for threshold in (large_models.LARGE, 0):
        monkeypatch.setattr(large_models, "LARGE", threshold)
        export_task(base, tuned, out, method="osd", budget="r=2", calibration=rows)
        found.append(out.read_bytes())
    assert found[0] == found[1]


def test_a_streamed_model_answers_and_learns_as_one_in_memory(tiny_models: Path) -> None:
    backbone = backbone_of(Checkpoint(tiny_models / "base"))
    tuned = Checkpoint(tiny_models / "first")
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
    tokens = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    gradients = []
    for streamed in (False, True):
        model = TaskModel(backbone, tuned, streamed=streamed)
        with model.at(LINEAR_ONLY) as module:
            embeddings = module.get_input_embeddings().weight
            embeddings.requires_grad_(True)
            logits = module(**tokens).logits
            gradients.append(torch.autograd.grad(logits.square().sum(), embeddings)[0])
            held = sum(p.numel() for p in module.base_model.encoder.parameters())
        assert (held < 1000) == streamed  # biases and LayerNorms alone
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_workers_do_not_change_the_bytes(tiny_models: Path, tmp_path: Path, how: str) -> None:
    calibration = tiny_models / "examples.tsv"
    expected = _exported(tiny_models, tmp_path, calibration=calibration)
    with _executor(how) as executor:
        found = _exported(tiny_models, tmp_path, calibration=calibration, executor=executor)
    assert found == expected


def test_tasks_run_side_by_side(tiny_models: Path, tmp_path: Path) -> None:
    outs = {
        tmp_path / f"{name}.osd.safetensors": tiny_models / name for name in ("first", "second")
    }
    options: dict[str, Any] = {"budget": "4KiB", "refine": "none"}
    with ThreadPoolExecutor(2) as executor:
        reports = export_tasks(tiny_models / "base", outs, executor, **options)
        assert [report.task for report in reports] == ["first", "second"]
        bad = {tmp_path / "bad.osd.safetensors": tiny_models / "base", **outs}
        with pytest.raises(ModelError):
            export_tasks(tiny_models / "base", bad, executor, **options)
    for path, report in zip(outs, reports, strict=True):
        assert path.stat().st_size == report.size
        alone = tmp_path / "alone.osd.safetensors"
        export_task(tiny_models / "base", outs[path], alone, name=report.task, **options)
        assert alone.read_bytes() == path.read_bytes()


def test_the_command_line_takes_jobs(
    tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for jobs in (1, 3):
        out = tmp_path / f"{jobs}.osd.safetensors"
        pair = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
        options = ("--budget", "4KiB", "--jobs", jobs, "--name", "t", "-o", out)
        assert run_cli(capsys, "export", "task", *pair, *options).code == 0
        found.append(out.read_bytes())
    assert found[0] == found[1]


_KILLED = """
import os, signal, sys
from pathlib import Path
from osd_edge.exporters import export_task, large

large.LARGE = 0
models, out = map(Path, sys.argv[1:])

def progress(items, label, total=None):
    for i, item in enumerate(items):
        if label == "Whitened SVD" and i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

export_task(models / "base", models / "first", out, budget="4KiB", name="t", refine="none",
            calibration=models / "examples.tsv", progress=progress)
"""


def test_a_killed_export_takes_up_where_it_was(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.osd.safetensors"
    done = subprocess.run([sys.executable, "-c", _KILLED, tiny_models, out], check=False)
    assert done.returncode == -9 and not out.exists()
    (work,) = tmp_path.iterdir()
    finished = sorted(work.glob("columns-*"))
    assert len(finished) >= 5
    # One of them is damaged since, and one is of another export.
    data = bytearray(finished[0].read_bytes())
    data[-1] ^= 1
    finished[0].write_bytes(data)
    finished[1].write_bytes(finished[1].read_bytes().replace(b'"key":"', b'"key":"0', 1))
    computed = []

    def count(delta: torch.Tensor, statistics: Statistics) -> whitening.Columns:
        computed.append(delta)
        return whitened_svd(delta, statistics)

    def no_statistics(*_: Any) -> None:
        raise AssertionError("statistics were finished")

    large.setattr(sites, "whitened_svd", count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compress, "collect_statistics", no_statistics)
        found = _exported(tiny_models, tmp_path, calibration=tiny_models / "examples.tsv")
    layers = len(read_bundle_file(out).sites)
    assert 2 <= len(computed) <= layers - 3
    assert list(tmp_path.iterdir()) == [out]
    computed.clear()
    assert _exported(tiny_models, tmp_path, calibration=tiny_models / "examples.tsv") == found
    assert len(computed) >= layers


def test_a_folder_of_someone_else_is_left_alone(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    other = tmp_path / ".t.osd.safetensors.work"
    other.mkdir()
    (other / "notes").write_text("mine", "utf-8")
    with pytest.raises(OutputError) as refusal:
        _exported(tiny_models, tmp_path)
    assert refusal.value.code == "output.exists"
    assert (other / "notes").read_text("utf-8") == "mine"


def test_a_refusal_leaves_no_work_but_deletes_none(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.osd.safetensors"
    models = (tiny_models / "base", tiny_models / "first", out)
    with pytest.raises(BudgetError):
        export_task(*models, budget="100")
    assert not any(tmp_path.iterdir())
    work = tmp_path / f".{out.name}.work"
    work.mkdir()
    (work / "osd-edge-work").touch()  # of an export that was broken off
    (work / "columns-x.safetensors").write_bytes(b"hours")
    with pytest.raises(BudgetError):
        export_task(*models, budget="100")
    assert (work / "columns-x.safetensors").read_bytes() == b"hours"


_HOLDS = """
import sys
from pathlib import Path
from osd_edge.exporters import export_task, large

large.LARGE = 0
models, out = map(Path, sys.argv[1:])

def progress(items, label, total=None):
    for i, item in enumerate(items):
        if label == "Whitened SVD" and i == 5:
            print("at work", flush=True)
            sys.stdin.readline()
        yield item

export_task(models / "base", models / "first", out, budget="4KiB", refine="none", seed=1,
            calibration=models / "examples.tsv", progress=progress)
"""


def test_two_exports_do_not_share_a_work_folder(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.osd.safetensors"
    command = [sys.executable, "-c", _HOLDS, str(tiny_models), str(out)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout is not None and other.stdout.readline() == "at work\n"
        finished = sorted(out.with_name(f".{out.name}.work").glob("columns-*"))
        with pytest.raises(OutputError) as refusal:
            _exported(tiny_models, tmp_path, calibration=tiny_models / "examples.tsv")
        assert refusal.value.code == "output.busy"
        assert finished and all(file.exists() for file in finished)
        other.communicate("\n")
    assert other.returncode == 0 and list(tmp_path.iterdir()) == [out]
    first = out.read_bytes()
    second = _exported(tiny_models, tmp_path, calibration=tiny_models / "examples.tsv")
    assert first != second and list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("where", ["facts", "model"])
def test_finished_work_of_other_numbers_is_not_taken_up(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch, where: str
) -> None:
    base, tuned = (tmp_path / name for name in ("base", "tuned"))
    for name, folder in (("base", base), ("first", tuned)):
        shutil.copytree(tiny_models / name, folder)
    out = tmp_path / "out" / "t.osd.safetensors"
    out.parent.mkdir()
    with large.context() as patch:
        full = OutputError(Code.OUTPUT_DISK_FULL, "no space left")
        patch.setattr(task_bundle, "write_file", Mock(side_effect=full))
        with pytest.raises(OutputError):
            export_task(base, tuned, out, refine="none", calibration=tiny_models / "examples.tsv")
    for file in out.with_name(f".{out.name}.work").glob("*.safetensors"):
        if where == "facts":  # a digit of a number that is in no tensor
            data = file.read_bytes()
            file.write_bytes(re.sub(rb'(weight\\": \d\.)\d', rb"\g<1>9", data, count=1))
    if where == "model":
        for folder in (base, tuned):
            config = json.loads((folder / "config.json").read_text("utf-8"))
            (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    options: dict[str, Any] = {"refine": "none", "calibration": tiny_models / "examples.tsv"}
    export_task(base, tuned, out, **options)
    resumed = out.read_bytes()
    export_task(base, tuned, out, **options)
    assert out.read_bytes() == resumed


def test_a_refusal_comes_back_from_a_process(tiny_models: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.osd.safetensors"
    tasks = {tmp_path / "bad.osd.safetensors": tiny_models / "base", good: tiny_models / "first"}
    with _executor("processes") as executor, pytest.raises(ModelError) as refusal:
        export_tasks(tiny_models / "base", tasks, executor, budget="4KiB", refine="none")
    assert refusal.value.code == "model.head" and good.exists()


def test_a_full_disk_keeps_finished_work(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OutputError(Code.OUTPUT_DISK_FULL, f"no space left to write {path}")

    large.setattr(task_bundle, "write_file", full)
    with pytest.raises(OutputError):
        _exported(tiny_models, tmp_path)
    (work,) = tmp_path.iterdir()
    assert any(work.glob("columns-*"))


@pytest.mark.parametrize("whitened", [False, True])
def test_leading_columns_are_those_of_the_whole_decomposition(
    whitened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, d = 90, 70
    spectrum = 0.8 ** torch.arange(70.0)
    delta = (random(0, n, 70) * spectrum) @ random(1, 70, d) / 70 + 1e-3 * random(2, n, d)
    statistics = some_statistics(n, d, 3) if whitened else Statistics()
    whole = whitened_svd(delta, statistics)
    monkeypatch.setattr(whitening, "WIDE", 1)
    monkeypatch.setattr(whitening, "MAX_COLUMNS", 12)
    monkeypatch.setattr(leading, "OVERSAMPLING", 8)
    found = whitened_svd(delta, statistics)
    assert found.u.shape == (12, n) and found.v.shape == (12, d)
    assert torch.allclose(found.singular, whole.singular[:12], rtol=2e-3)
    identity = Statistics(torch.eye(d), torch.eye(n))
    metric = statistics if whitened else identity
    lost, least = (damage(delta - c.u[:12].T @ c.v[:12], metric) for c in (found, whole))
    assert lost < 1.01 * least


def test_a_sketch_is_the_moment_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 24
    x = random(0, 4000, n) * torch.linspace(0.2, 2, n)
    moment = x.T @ x / len(x)
    moment = moment / moment.diagonal().mean() + 0.03 * torch.eye(n)
    monkeypatch.setattr(moments, "EXACT", 8)
    sketches = []
    for seed in range(40):
        running = RunningMoment(seed)
        for batch in x.reshape(-1, 400, n):
            running.add(batch)
        found = running.normalized(0.03)
        assert found is not None and isinstance(found[0], Sketch)
        assert found[1] == pytest.approx(float(x.square().mean()), rel=0.2)
        rows = random(seed, 3, n)
        assert torch.allclose(times(rows, found[0]), rows @ part(found[0], 0, n), atol=1e-4)
        assert torch.allclose(part(found[0], 4, 9), part(found[0], 0, n)[4:9, 4:9])
        sketches.append(part(found[0], 0, n))
    error = (torch.stack(sketches).mean(0) - moment).abs().max()
    assert float(error) < 0.05 * float(moment.max())


def test_a_wide_metric_is_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    h = some_statistics(40, 40, 0).g
    assert isinstance(h, torch.Tensor)
    monkeypatch.setattr("osd_edge.exporters.methods.osd_rd.feedback.EXACT", 16)
    monkeypatch.setattr("osd_edge.exporters.methods.osd_rd.feedback.WIDEST_PART", 16)
    metric = metric_of(h)
    assert [len(p.order) for p in metric.parts] == [13, 13, 14]
    assert sorted(int(i) for p in metric.parts for i in p.order) == list(range(40))


def test_the_benchmark_runs_its_stages(tmp_path: Path, large: pytest.MonkeyPatch) -> None:
    """Shapes of a few hundred features in the place of the real ones."""
    small = {"hidden_size": 64, "vocab_size": 4100, "max_position_embeddings": 200}
    for name, more in (("roberta-large", {"intermediate_size": 96}), ("opt-1.3b", {"ffn_dim": 96})):
        shape = at_size_models.MODELS[name]
        width = {"word_embed_proj_dim": 64} if name == "opt-1.3b" else {}
        settings = shape.settings | small | more | width
        made = at_size_models.Shape(2, shape.kind, settings, shape.dtype)
        large.setitem(at_size_models.MODELS, name, made)
        options = {"model": name, "layers": 2, "refine": "scales", "steps": 2, "budget": "24KiB"}
        options |= {"weights": "fp32", "jobs": 2}
        large.setitem(REFINEMENTS, "scales", REFINEMENTS["scales"])  # put back after the test
        stages = {
            stage: at_size.run_stage(stage, tmp_path / name, options) for stage in at_size.STAGES
        }
        page = at_size.markdown({"options": options, "stages": stages})
        assert page.count("**") == 2 * len(at_size.STAGES)
        assert all(found["peak_rss_bytes"] > 0 for found in stages.values())
        bundle = read_bundle_file(tmp_path / name / "task-calibrated.osd.safetensors")
        assert bundle.scores is not None and bundle.sites


def _exported(models: Path, folder: Path, **options: Any) -> bytes:
    out = folder / "t.osd.safetensors"
    options = {"budget": "4KiB", "name": "t", "refine": "none"} | options
    export_task(models / "base", models / "first", out, **options)
    return out.read_bytes()


def _executor(how: str) -> Executor:
    if how == "threads":
        return ThreadPoolExecutor(3)
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))
