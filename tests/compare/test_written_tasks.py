"""`compare` for tasks that generate text: scores, parts of a comparison, refusals, files."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from osd_edge.cli.compare import describe
from osd_edge.data.examples import Example, read_examples
from osd_edge.errors import InputError, OsdEdgeError
from osd_edge.exporters.compare.comparison import (
    ComparisonPart,
    MethodComparison,
    Point,
    compare,
    grid,
)
from osd_edge.exporters.compare.peers.lora import LoraExtraction
from osd_edge.exporters.compare.peers.own_lora import OwnLora
from osd_edge.exporters.compare.peers.zstd import ZstdDelta
from osd_edge.exporters.compare.scored_rows import WrittenRows
from osd_edge.exporters.scoring.calibrated_task import calibrated
from osd_edge.exporters.scoring.weight_sets import BASE, TUNED
from osd_edge.formats.bundle.reader import read_bundle
from tests.support import decoders, tiny
from tests.support.command_line import run_cli
from tests.support.lora_tasks import LoraTask, make_lora_task, write_rows

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> LoraTask:
    return make_lora_task(tmp_path_factory.mktemp("written"))


@pytest.fixture
def compressions(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often some methods compress from now on."""
    counts: Counter[str] = Counter()

    def counted(peer: type) -> None:
        plain: Callable[..., object] = peer.compress  # type: ignore[attr-defined]

        def compress(self: object, *arguments: object) -> object:
            counts[self.name] += 1  # type: ignore[attr-defined]
            return plain(self, *arguments)

        monkeypatch.setattr(peer, "compress", compress)

    for peer in (LoraExtraction, OwnLora, ZstdDelta):
        counted(peer)
    return counts


def test_scores_are_those_of_exports(task: LoraTask) -> None:
    """One pass over the vocabulary gives what calibration takes in several."""
    source = task.source()
    model = source.model
    assert model is not None
    expected = calibrated(source.models, task.test, model=model)
    rows = WrittenRows(source.models, task.test)
    with model.at(BASE) as module:
        score = expected.calibration.score(module, "")
    with model.at(TUNED) as module:
        own = rows.follow(module)
    assert own.accuracy == expected.fine_tuned.accuracy == 1.0 and own.next_same == 1.0
    assert own.loss == pytest.approx(expected.fine_tuned.loss, rel=1e-5)
    with model.at(BASE) as module:
        found = rows.score(module)
    assert found.accuracy == score.accuracy < 1
    assert found.loss == pytest.approx(score.loss, rel=1e-5)
    assert found.next_same == pytest.approx(score.next_same) and 0 < score.next_same < 1  # type: ignore[operator]


def test_the_error_of_nats_is_that_of_resampled_rows(task: LoraTask) -> None:
    source = task.source()
    assert source.model is not None
    rows = WrittenRows(source.models, task.test)
    with source.model.at(BASE) as module:
        rows.likeliest = [0] * len(rows._expected)
        error = rows.score(module).loss_error
        losses = []
        generator = torch.Generator().manual_seed(0)
        for _ in range(60):
            drawn = torch.randint(len(task.test), (len(task.test),), generator=generator)
            again = WrittenRows(source.models, [task.test[i] for i in drawn.tolist()])
            again.likeliest = [0] * len(again._expected)
            losses.append(again.score(module).loss)
    spread = float(torch.tensor(losses).double().std())
    assert 0.6 * spread < error < 1.6 * spread  # 60 draws tell it to some 10 %, 16 rows to 20 %


def test_the_bounds_and_points_of_a_lora(task: LoraTask, tmp_path: Path) -> None:
    outcome = compare(task.job("lora-own", "osd-rd-none", budgets=("64KiB",)), tmp_path)
    assert (outcome.kind, outcome.labels, outcome.frozen_probe) == ("generate", 0, None)
    bounds = outcome.scores
    assert bounds["fine_tuned"].accuracy == bounds["linear_only"].accuracy == 1.0
    assert outcome.floor == outcome.zero_delta == bounds["zero_delta"].accuracy < 0.9
    adapter = json.loads((task.lora / "adapter_config.json").read_text())
    assert adapter["r"] == 3
    layers = task.source().layers
    assert outcome.fp32_bytes == sum(4 * 3 * (layer.n + layer.d) for layer in layers)
    by_name = {point.method: point for point in outcome.points}
    own = by_name["lora-own"]
    assert own.budget is None and own.accuracy == 1.0
    assert own.loss == pytest.approx(bounds["fine_tuned"].loss, abs=1e-3)
    assert own.next_same == 1.0 and outcome.gain(own.accuracy) == 1.0
    assert outcome.gain_in_nats(own.loss) == pytest.approx(1.0, abs=0.01)
    assert outcome.gain_in_nats(bounds["zero_delta"].loss) == 0.0
    for point in outcome.points:
        sizes = [(tmp_path / file).stat().st_size for file in point.files]
        assert sum(sizes) == point.size
    bundle = read_bundle((tmp_path / by_name["osd-rd-none"].files[0]).read_bytes())
    assert bundle.head.kind == "generate" and bundle.sites


def test_a_comparison_in_parts(task: LoraTask, tmp_path: Path, compressions: Counter[str]) -> None:
    """Each call does its part, none does anything again, and all together are the whole."""
    job = task.job("lora", "lora-own", "zstd", budgets=("32KiB", "r=0.5"))
    nothing = compare(job, tmp_path, part=ComparisonPart(minutes=0))
    assert not nothing.points and len(nothing.left) == 4 and not compressions
    assert "4 of 4 settings are left" in describe(nothing)
    one = compare(job, tmp_path, part=ComparisonPart(only=["lora@32KiB"]))
    assert [(p.method, p.budget) for p in one.points] == [("lora", "32KiB")]
    assert one.left == (("lora", "r=0.5"), ("lora-own", None), ("zstd", None))
    assert compressions == {"lora": 1}
    two = compare(job, tmp_path, part=ComparisonPart(only=["zstd", "lora@32768"]))
    assert [p.method for p in two.points] == ["lora", "zstd"]
    assert compressions == {"lora": 1, "zstd": 1}
    whole = compare(job, tmp_path)
    assert not whole.left and [(p.method, p.budget) for p in whole.points] == list(job.texts)
    assert compressions == {"lora": 2, "zstd": 1, "lora-own": 1}
    again = compare(job, tmp_path)
    assert again == whole and compressions.total() == 4


def test_an_interrupted_comparison_goes_on(
    task: LoraTask, tmp_path: Path, compressions: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = task.job("lora", "lora-own", "zstd", budgets=("32KiB",))

    class KilledError(Exception):
        pass

    with monkeypatch.context() as broken:

        def killed(*_: object) -> object:
            raise KilledError

        broken.setattr(OwnLora, "compress", killed)
        with pytest.raises(KilledError):
            compare(job, tmp_path)
    assert compressions == {"lora": 1}
    outcome = compare(job, tmp_path)
    assert len(outcome.points) == 3 and compressions == {"lora": 1, "zstd": 1, "lora-own": 1}


def test_no_setting_begins_after_the_time(
    task: LoraTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one in progress ends; time is the clock's, which stands until a setting is begun."""
    from osd_edge.exporters.compare import comparison, job

    now = [0.0]
    for module in (comparison, job):
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    plain = ZstdDelta.compress

    def slow(self: ZstdDelta, *arguments: object) -> object:
        now[0] += 90
        return plain(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ZstdDelta, "compress", slow)
    asked = task.job("lora-own", "zstd", "lora-own-int8")
    outcome = compare(
        asked, tmp_path, part=ComparisonPart(only=["lora-own", "zstd", "lora-own-int8"], minutes=1)
    )
    assert [p.method for p in outcome.points] == ["lora-own", "zstd"]
    assert outcome.left == (("lora-own-int8", None),)


def test_a_lora_of_another_weight_is_another_task(task: LoraTask, tmp_path: Path) -> None:
    job = task.job("lora-own-int4")
    compare(job, tmp_path)
    heavier = replace(job, adapters=[(task.lora, 2.0)])
    compare(heavier, tmp_path)
    assert len(list((tmp_path / "cells").glob("lora-own-int4-*"))) == 2


def test_completions_are_told_apart(task: LoraTask, tmp_path: Path) -> None:
    job = task.job("lora-own")
    compare(job, tmp_path)
    other = tuple(Example(e.text, completion="the mat") for e in task.test)
    found = compare(replace(job, test=other), tmp_path)
    assert found.fine_tuned < 1.0
    assert found.shared_rows == 0
    shared = compare(replace(job, test=(*other, task.calibration[3])), tmp_path)
    assert shared.shared_rows == 1


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"settings": (("head", None),)}, "input.method", "a task that generates text has no head"),
        ({"probe": 0.5}, "input.options", "the base alone"),
        ({"probe_train": (Example("a", "b"),)}, "input.options", "the base alone"),
        ({"test": (Example("the cat"),)}, "data.completion", "row 1 of the test set"),
        ({"calibration": (Example("the cat"),)}, "data.completion", "of the calibration set"),
        ({"test": (Example("a", completion="the cat " * 99),)}, "data.row", "1 of the test set is"),
        ({"adapters": ()}, "input.options", "one of the two"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(
    task: LoraTask, tmp_path: Path, changes: dict[str, object], code: str, words: str
) -> None:
    with pytest.raises(OsdEdgeError) as refused:
        compare(replace(task.job("lora"), **changes), tmp_path / "out")  # type: ignore[arg-type]
    assert refused.value.code == code and words in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_lora_s_own_factors_need_a_lora(task: LoraTask, tmp_path: Path) -> None:
    """A model that was fine-tuned whole has no factors of its own; its SVD is another method."""
    tuned = decoders.make_tuned(task.base, tmp_path / "tuned")
    job = MethodComparison(
        task.base, tuned, task.calibration, task.test, grid(("lora-own", "loraquant-2"), ())
    )
    with pytest.raises(InputError, match="the fine-tuned model is none"):
        compare(job, tmp_path / "out")
    everything = replace(job, settings=(*job.texts, ("lora", "r=2")), suited_only=True)
    outcome = compare(everything, tmp_path / "out")
    assert [p.method for p in outcome.points] == ["lora"] and not outcome.left


def test_part_names_that_are_none(task: LoraTask, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lora@8KiB") as refused:
        compare(task.job("lora"), tmp_path, part=ComparisonPart(only=["lora@16KiB"]))
    assert refused.value.code == "input.method"
    with pytest.raises(InputError, match="minutes"):
        ComparisonPart(minutes=-1)
    with pytest.raises(InputError, match="minutes"):
        ComparisonPart(minutes=float("nan"))


def arguments(task: LoraTask, folder: Path, *more: object) -> list[object]:
    return [
        *("compare", "--base", task.base, "--adapter", task.lora),
        *("--calibration", write_rows(folder / "calibration.jsonl", 12, 1)),
        *("--test", write_rows(folder / "test.jsonl", 9, 2), "-o", folder / "out", *more),
    ]


def test_the_command_in_parts(task: LoraTask, tmp_path: Path, capsys: Capture) -> None:
    chosen = ("--methods", "lora,lora-own-int4,zstd", "--budgets", "64KiB")
    done = run_cli(capsys, *arguments(task, tmp_path, *chosen, "--only", "zstd,lora"))
    assert done.code == 0, done.err
    assert (
        "1 of 3 settings are left (lora-own-int4): the same command goes on with them" in done.out
    )
    assert "lora: text, 9 test rows, 12 calibration rows, seed 0" in done.out
    assert "base alone" in done.out and "nats a token" in done.out
    whole = run_cli(capsys, *arguments(task, tmp_path, *chosen, "--minutes", "60"))
    assert whole.code == 0 and "are left" not in whole.out
    rows = list(csv.DictReader((tmp_path / "out" / "comparison.csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == ["lora", "lora-own-int4", "zstd"]
    assert all(float(row["loss"]) > 0 and row["next_same"] and row["zero_delta"] for row in rows)
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert document["left"] == [] and document["scores"]["fine_tuned"]["loss"] > 0
    assert all("gain_in_nats" in point for point in document["points"])


def test_either_a_model_or_adapters(task: LoraTask, tmp_path: Path, capsys: Capture) -> None:
    both = run_cli(capsys, *arguments(task, tmp_path, "--tuned", task.base))
    assert both.code == 2 and "one of the two" in both.err
    neither = [a for a in arguments(task, tmp_path) if a not in ("--adapter", task.lora)]
    assert run_cli(capsys, *neither).code == 2


def test_a_classifier_s_adapters_are_compared_too(tmp_path: Path) -> None:
    """With labels, which its files do not name."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    base = tiny.make_base("bert", tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    settings = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    adapted = get_peft_model(model, settings)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    adapted.save_pretrained(tmp_path / "lora")
    examples = read_examples(tiny.write_tsv(tmp_path / "examples.tsv"))
    job = MethodComparison(
        base,
        None,
        examples,
        examples[:9],
        grid(("lora-own", "loraquant-3"), ()),
        probe=0.1,
        adapters=[(tmp_path / "lora", 1.0)],
        labels=tiny.LABELS,
    )
    outcome = compare(job, tmp_path / "out")
    assert outcome.labels == 3 and outcome.frozen_probe == 0.1
    own, _ = outcome.points
    assert own.accuracy == outcome.fine_tuned and own.next_same is None
    assert isinstance(own, Point) and own.loss == pytest.approx(
        outcome.scores["fine_tuned"].loss, abs=1e-2
    )
