"""`export task --method osd-rd` and `head`, from checkpoints to a session."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from osd_edge.data.examples import Example, read_examples
from osd_edge.errors import BudgetError, DataError, InputError
from osd_edge.exporters import TaskExporter, export_task
from osd_edge.exporters.methods.floor import Floor
from osd_edge.exporters.methods.osd_rd.bundles import RateDistortionBundles
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED, WithDelta
from osd_edge.formats.bundle.model import StoredHead, StoredSite
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.command_line import run_cli
from tests.support.families import Families

pytestmark = pytest.mark.usefixtures("short_training")


@pytest.fixture(scope="module")
def exporter(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> TaskExporter:
    rows = read_examples(tiny.write_tsv(tmp_path_factory.mktemp("rows") / "many.tsv", 240))
    return TaskExporter(tiny_models / "base", tiny_models / "first", calibration=rows)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("budget", ["1200", "2KiB", "6KiB", "r=0.5", "r=2"])
@pytest.mark.parametrize("refine", ["none", "scales", "codes"])
def test_a_bundle_is_within_its_budget_and_uses_it(
    exporter: TaskExporter, tmp_path: Path, budget: str, refine: str
) -> None:
    path = tmp_path / "first.osd.safetensors"
    report = exporter.export(path, budget=budget, refine=refine)
    assert report.size == path.stat().st_size
    if budget.startswith("r="):
        allowed = float(budget[2:]) * 4 * sum(layer.n + layer.d for layer in exporter.source.layers)
        assert 0.5 * allowed < report.delta_size <= allowed
    else:
        most = {"1200": 1200, "2KiB": 2048, "6KiB": 6144}[budget]
        assert (0.9 if budget != "1200" else 0.5) * most < report.size <= most
    assert report.held_back == 100 and report.compressed is not None
    assert read_bundle_file(path).method == {"name": "osd-rd", "refine": refine}


@pytest.mark.slow(reason="trains codes for as long as it takes to learn")
def test_refinement_comes_nearer_to_the_fine_tuned_model(
    exporter: TaskExporter, tmp_path: Path
) -> None:
    """On rows that were held back, in nats."""
    none, codes = (_divergence(exporter, tmp_path, how) for how in ("none", "codes"))
    assert codes < 0.7 * none


def test_without_training_one_factor_brings_the_answers_nearer(exporter: TaskExporter) -> None:
    pipeline = exporter.source.shared(RateDistortionBundles, 0).pipeline
    latents = pipeline.fitted(lambda integers: sum(site.k for site in integers.sites) <= 4)
    assert latents is not None
    amplified = pipeline.amplified(latents)
    factors = torch.cat(
        [amplified.sites[name].scale / site.scale for name, site in latents.sites.items()]
    )
    assert float(factors.min()) == pytest.approx(float(factors.max()), rel=1e-5)
    assert float(factors[0]) >= 1
    plain, nearer = (
        _divergence_of(exporter, pipeline.integers(x).sites, None) for x in (latents, amplified)
    )
    assert nearer <= plain
    assert float(factors[0]) == pytest.approx(1) or nearer < plain


def _divergence(exporter: TaskExporter, tmp_path: Path, how: str) -> float:
    path = tmp_path / "x.osd.safetensors"
    exporter.export(path, budget="3KiB", refine=how)
    bundle = read_bundle_file(path)
    return _divergence_of(exporter, bundle.sites, bundle.head)


def _divergence_of(
    exporter: TaskExporter, sites: Sequence[StoredSite], head: StoredHead | None
) -> float:
    """On held-back rows, in nats."""
    calibrated_task = exporter.source.shared(Floor, 0).calibrated
    assert calibrated_task is not None
    batches = calibrated_task.calibration.batches
    with calibrated_task.model.at(TUNED) as module, torch.inference_mode():
        expected = [module(**b.tokens).logits.log_softmax(-1) for b in batches]
    with calibrated_task.model.at(WithDelta(sites, head)) as module, torch.inference_mode():
        found = [module(**b.tokens).logits.log_softmax(-1) for b in batches]
    return (
        float(sum((e.exp() * (e - f)).sum() for e, f in zip(expected, found, strict=True)))
        / calibrated_task.calibration.examples
    )


@pytest.mark.usefixtures("few_steps")
def test_equal_inputs_give_equal_bytes(tiny_models: Path, tmp_path: Path) -> None:
    calibration = tiny_models / "examples.tsv"
    files = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.osd.safetensors"
        export_task(
            tiny_models / "base",
            tiny_models / "first",
            path,
            calibration=calibration,
            refine="codes",
            budget="4KiB",
            name="task",
        )
        files.append(path.read_bytes())
    assert files[0] == files[1]


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "opt"])
def test_every_family_runs_as_torch_does(families: Families, family: str, tmp_path: Path) -> None:
    made = families(family)
    rows = read_examples(tiny.write_tsv(tmp_path / "rows.tsv", 40))
    exporter = TaskExporter(made / "base", made / "tuned", calibration=rows)
    session = EdgeSession(made / "package")
    model = TaskModel(exporter.source.models.backbone, exporter.source.models.tuned)
    for method, refine in (("osd-rd", "codes"), ("osd-rd", "none"), ("head", None)):
        path = tmp_path / f"{method}.osd.safetensors"
        exporter.export(path, method=method, refine=refine, name="task")
        session.load(path)
        ids = np.array([[2, 5, 6, 3]])
        mask = np.ones_like(ids)
        feeds = {"input_ids": ids, "attention_mask": mask}
        if family == "bert":
            feeds["token_type_ids"] = np.zeros_like(ids)
        output = session.run(feeds, task="task")
        assert output.logits is not None and output.logits.shape == (1, 3)
        session.unload("task")
        if method == "head":
            continue
        bundle = read_bundle_file(path)
        tokens = {k: torch.from_numpy(v) for k, v in feeds.items()}
        with model.at(WithDelta(bundle.sites, bundle.head)) as module, torch.inference_mode():
            expected = module(**tokens).logits.numpy()
        assert np.abs(output.logits - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_without_calibration_data_it_works_unrefined(tiny_models: Path, tmp_path: Path) -> None:
    base, tuned = tiny_models / "base", tiny_models / "first"
    path = tmp_path / "first.osd.safetensors"
    report = export_task(base, tuned, path, budget="4KiB")
    assert report.refine == "none" and report.size <= 4096 and report.compressed is None
    for options in ({"refine": "scales"}, {"keep": 0.9}, {"method": "head"}):
        with pytest.raises(DataError) as refused:
            export_task(base, tuned, path, **options)
        assert refused.value.code == "data.calibration-needed"


def test_keep_shows_its_curve(tiny_models: Path, tmp_path: Path) -> None:
    rows = [Example(text) for text in tiny.sentences(240)]  # no labels: agreement counts
    tuned = tiny.make_tuned(tiny_models / "base", tmp_path / "tuned", size=0)
    model = AutoModelForSequenceClassification.from_pretrained(tuned)
    for name, parameter in model.bert.encoder.named_parameters():
        if parameter.ndim == 2:  # of linear layers alone, which is what a bundle holds
            torch.manual_seed(len(name))
            parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(tuned)
    exporter = TaskExporter(tiny_models / "base", tuned, calibration=rows)
    report = exporter.export(tmp_path / "x.osd.safetensors", keep=0.3, refine="none")
    assert report.share is not None and report.share >= 0.3
    assert report.share_error is not None and report.share_error > 0
    assert report.curve and report.size in [point.size for point in report.curve]
    assert all(p.share < 0.3 for p in report.curve if p.size < report.size)


def test_keep_needs_two_hundred_rows(tiny_models: Path, tmp_path: Path) -> None:
    rows = read_examples(tiny_models / "examples.tsv")
    with pytest.raises(DataError) as refused:
        TaskExporter(tiny_models / "base", tiny_models / "first", calibration=rows).export(
            tmp_path / "x.osd.safetensors", keep=0.9
        )
    assert refused.value.code == "data.few-rows"
    assert not list(tmp_path.iterdir())


def test_what_is_too_small_is_named(exporter: TaskExporter, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"smallest bundle of this task, .*\d+ bytes") as refused:
        exporter.export(tmp_path / "x.osd.safetensors", budget="300")
    assert refused.value.code == "budget.too-small"
    with pytest.raises(BudgetError, match=r"linear layers \d bytes.*larger r") as refused:
        exporter.export(tmp_path / "x.osd.safetensors", budget="r=0.0001", refine="none")
    assert refused.value.code == "budget.too-small"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"refine": "all"}, "input.refine"),
        ({"keep": 0.9, "budget": "4KiB"}, "input.options"),
        ({"keep": 1.5}, "budget.malformed"),
        ({"values": "int8"}, "input.options"),
        ({"method": "osd", "refine": "codes"}, "input.options"),
        ({"method": "head", "budget": "4KiB"}, "input.options"),
        ({"method": "head", "sites": ("*.attention.*",)}, "input.options"),
        ({"method": "truncsvd", "extra_rank": 1}, "input.options"),
        ({"keep": float("nan")}, "budget.malformed"),
        ({"seed": -1}, "input.number"),
        ({"seed": 2**63}, "input.number"),
    ],
)
def test_options_that_do_not_belong_together(
    tiny_models: Path, tmp_path: Path, options: dict[str, str], code: str
) -> None:
    with pytest.raises((InputError, BudgetError)) as refused:
        export_task(
            tiny_models / "base",
            tiny_models / "first",
            tmp_path / "x.osd.safetensors",
            calibration=tiny_models / "examples.tsv",
            **options,  # type: ignore[arg-type]
        )
    assert refused.value.code == code


def test_the_command_line_tells_the_same(
    tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "first.osd.safetensors"
    models = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    rows = ("--calibration", tiny_models / "examples.tsv")
    budget = ("--budget", "3KiB", "--refine", "none", "-o", out)
    result = run_cli(capsys, "export", "task", *models, *rows, *budget, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert report["method"] == "osd-rd" and report["refine"] == "none"
    assert report["size"] == out.stat().st_size <= 3072
    assert report["held_back"] == 4 and report["frozen_head"]["accuracy"] >= 0
    shown = run_cli(capsys, "export", "task", *models, *rows, *budget)
    assert "4 held-back calibration examples" in shown.out


def test_a_head_stored_as_factors_is_there_in_the_smallest_file(tmp_path: Path) -> None:
    """RoBERTa's head has a dense layer, here just wide enough for factors."""
    base = tiny.make_base("roberta", tmp_path / "base", hidden_size=128)
    tiny.make_tuned(base, tmp_path / "tuned")
    exporter = TaskExporter(base, tmp_path / "tuned")
    path = tmp_path / "t.osd.safetensors"
    with pytest.raises(BudgetError) as refused:
        exporter.export(path, budget="100", refine="none")
    smallest = int(str(refused.value).split("(")[1].split()[0])
    exporter.export(path, budget=str(smallest), refine="none")
    dense, *_ = read_bundle_file(path).head.decode().layers
    assert dense.dense().shape == (128, 128) and np.abs(dense.dense()).max() > 0
