"""Tasks that generate text, compressed with calibration rows: what is learned, scored and said."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from osd_edge import Example
from osd_edge.errors import DataError, OsdEdgeError
from osd_edge.exporters import TaskExporter, export_task
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring import written_completions
from osd_edge.exporters.scoring.calibrated_task import batches_of
from osd_edge.exporters.scoring.completions import RowEncoder, WrittenExample
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import BASE, TUNED
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession
from tests.support.command_line import run_cli
from tests.support.writers import Writer, make_writer

WORDS = (
    "the cat sat",
    "a dog ran",
    "on the mat",
    "under the bird",
    "système über",
    "猫 が 好き",
    "🙂",
)
PROMPTS = [f"{a} {i} {b}" for i, a in enumerate(WORDS) for b in (*WORDS, "and", "or", "but")]
MOST = 6  # tokens that the fine-tuned model writes


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    return make_writer(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="module")
def tuned(writer: Writer) -> Path:
    return writer.model.with_name("task0")


def prompts(folder: Path, count: int = len(PROMPTS)) -> Path:
    path = folder / "prompts.jsonl"
    chosen = (PROMPTS * -(-count // len(PROMPTS)))[:count]
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in chosen), "utf-8")
    return path


def test_exact_match_under_the_completion_is_that_of_greedy_writing(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    """Rows that greedy writing on a device gets right, and rows with one other token."""
    source = TaskExporter(writer.model, tuned, calibration=prompts(tmp_path), complete=MOST).source
    examples = []
    for i, example in enumerate(source.examples):
        assert isinstance(example, WrittenExample)
        tokens = list(example.tokens)
        if i % 3 == 0:
            tokens[i % len(tokens)] ^= 1
        examples.append(replace(example, tokens=tuple(tokens)))
    with EdgeSession(writer.package) as session:
        # The bundle of the fixture holds the whole delta.
        answers = session.generate(PROMPTS, task=session.load(writer.bundles[0]), max_tokens=MOST)
    stop = RowEncoder(source.models).stop
    written = [(*a.tokens, *([stop] if a.ended == "stop" else ())) for a in answers]
    exact = [own == e.tokens for own, e in zip(written, examples, strict=True)]
    assert 20 < sum(exact) < len(exact) - 15
    report = export_task(
        writer.model,
        tuned,
        tmp_path / "t.osd.safetensors",
        method="truncsvd",
        budget="r=64",
        calibration=examples,
    )
    assert report.fine_tuned is not None and report.compressed is not None and report.labelled
    assert report.fine_tuned.accuracy == pytest.approx(sum(exact) / len(exact))
    assert report.compressed.accuracy == report.fine_tuned.accuracy
    assert report.compressed.loss == pytest.approx(report.fine_tuned.loss, abs=1e-3)


def test_without_a_budget_a_task_that_writes_gets_what_it_needs(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    """16 KiB, a classifier's, leave hardly anything of what a small language model learned."""
    exporter = TaskExporter(writer.model, tuned)
    out = tmp_path / "t.osd.safetensors"
    assert exporter.export(out).budget == "65536 bytes"
    assert exporter.export(out, budget="12KiB").budget == "12288 bytes"
    assert exporter.export(out, method="truncsvd").budget == "r=1"


def test_the_loss_is_nats_a_token_of_completions(writer: Writer, tuned: Path) -> None:
    """Against transformers' own loss, in which prompts are masked."""
    examples = [Example(p, completion=" on the mat") for p in PROMPTS[:7]]
    report = export_task(
        writer.model,
        tuned,
        writer.model.with_name("nats.osd.safetensors"),
        method="truncsvd",
        calibration=examples,
    )
    models = open_fine_tuned(writer.model, tuned)
    encoder = RowEncoder(models)
    total, count = 0.0, 0
    for i, example in enumerate(examples, 1):
        row = encoder.row(example, i)
        ids = torch.tensor([row.tokens])
        labels = ids.clone()
        labels[0, : row.start] = -100
        with torch.no_grad():
            loss = float(writer.torch(0)(ids, labels=labels).loss)
        total, count = (
            total + loss * (len(row.tokens) - row.start),
            count + len(row.tokens) - row.start,
        )
    assert report.fine_tuned is not None
    assert report.fine_tuned.loss == pytest.approx(total / count, rel=1e-5)


def test_prompts_and_messages_have_the_tokens_that_a_device_gives_them(
    writer: Writer, tuned: Path
) -> None:
    encoder = RowEncoder(open_fine_tuned(writer.model, tuned))
    talk: list[dict[str, str]] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "the cat?"},
    ]
    answer = {"role": "assistant", "content": "on the mat"}
    with EdgeSession(writer.package) as session:
        (text,) = session.generate(["the cat sat"], max_tokens=1)
        (chat,) = session.generate([talk], max_tokens=1)
        own = session.encode(["on the mat"])["input_ids"][0].tolist()
    for example, asked in (
        (Example("the cat sat", completion="on the mat"), text.prompt_tokens),
        (Example("the cat?", messages=[*talk, answer]), chat.prompt_tokens),
    ):
        row = encoder.row(example, 1)
        assert row.start == asked
        assert row.tokens[row.start :] == [*own, encoder.stop]
    asked_alone, nothing = encoder.parts(Example("the cat?", messages=talk), 1)
    assert nothing is None and asked_alone == row.tokens[: row.start]


def test_refinement_brings_the_next_token_nearer(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    """On held-back rows, at the same bytes; more so where codes are trained too."""
    exporter = TaskExporter(
        writer.model, tuned, calibration=prompts(tmp_path, 200), complete=MOST, keep_by="nats"
    )
    same, shares = [], []
    for refine in ("none", "scales", "codes"):
        report = exporter.export(tmp_path / f"{refine}.osd.safetensors", budget=5000, refine=refine)
        assert report.size <= 5000 and report.refine == refine and report.held_back == 100
        assert report.compressed is not None and report.share is not None
        assert report.compressed.next_same is not None and report.share_error is None
        assert read_bundle_file(tmp_path / f"{refine}.osd.safetensors").method["refine"] == refine
        same.append(report.compressed.next_same)
        shares.append(report.share)
    assert same[2] > same[0] and shares[2] > shares[1] > shares[0]
    assert report.fine_tuned is not None and report.frozen_head is not None
    assert report.fine_tuned.next_same == 1 and report.frozen_head.next_same is not None
    assert report.frozen_head.loss > report.fine_tuned.loss


def test_the_fine_tuned_model_completes_prompts_as_a_device_would(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    source = TaskExporter(writer.model, tuned, calibration=prompts(tmp_path), complete=MOST).source
    with EdgeSession(writer.package) as session:
        answers = session.generate(PROMPTS, task=session.load(writer.bundles[0]), max_tokens=MOST)
    encoder = RowEncoder(source.models)
    for i, (example, answer) in enumerate(zip(source.examples, answers, strict=True), 1):
        row = encoder.row(example, i)
        ended = [encoder.stop] if answer.ended == "stop" else []
        assert row.tokens[row.start :] == [*answer.tokens, *ended]


def test_a_share_in_nats_is_kept_in_the_smallest_file(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    report = export_task(
        writer.model,
        tuned,
        tmp_path / "t.osd.safetensors",
        calibration=prompts(tmp_path, 200),
        complete=MOST,
        keep=0.6,
        keep_by="nats",
        refine="none",
    )
    assert report.share is not None and report.share >= 0.6 and report.keep_by == "nats"
    kept = [point for point in report.curve if point.share >= 0.6]
    assert report.size == min(point.size for point in kept)
    assert all(point.loss is not None for point in report.curve)
    assert any(point.share < 0.6 for point in report.curve)


def test_rows_that_only_score_are_completed_too(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    """The fine-tuned model writes their completions, so that it gets all of them right."""
    scoring = [Example(f"{text} again") for text in PROMPTS[:3]]
    report = export_task(
        *(writer.model, tuned, tmp_path / "t.osd.safetensors"),
        calibration=prompts(tmp_path),
        score_on=scoring,
        complete=MOST,
        refine="none",
    )
    assert report.only_scored and report.held_back == 3
    assert report.fine_tuned is not None and report.fine_tuned.accuracy == 1
    with pytest.raises(DataError, match="row 1 of the set to score on") as refused:
        export_task(
            *(writer.model, tuned, tmp_path / "t.osd.safetensors"),
            calibration=[Example("a cat", completion="sat")],
            score_on=[Example("a dog")],
            refine="none",
        )
    assert refused.value.code == "data.completion"
    with pytest.raises(DataError, match="row 1 of the set to score on"):
        export_task(
            *(writer.model, tuned, tmp_path / "t.osd.safetensors"),
            calibration=prompts(tmp_path),
            score_on=[Example("a cat " * 500)],
            complete=MOST,
            refine="none",
        )


def test_rows_without_a_prompt_are_told_apart_by_what_is_written(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    (tmp_path / "tune.txt").write_text("the cat sat\na dog ran\n" * 10)
    (tmp_path / "score.txt").write_text("a dog ran\nthe bird flew\nthe cat ran\n")
    source = TaskExporter(
        writer.model, tuned, calibration=tmp_path / "tune.txt", score_on=tmp_path / "score.txt"
    ).source
    assert len(source.scoring) == 3 and source.shared_rows == 1


def test_lines_of_a_text_file_are_all_to_be_written(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("the cat sat on the mat\na dog ran\n")
    source = TaskExporter(writer.model, tuned, calibration=path).source
    (batch,) = batches_of(source.models, source.examples)
    assert batch.mask is not None
    assert torch.equal(batch.tokens["counted"].long(), batch.mask)


def test_osd_ranks_by_the_completions(writer: Writer, tuned: Path, tmp_path: Path) -> None:
    examples = [Example(p, completion=" on the mat") for p in PROMPTS[:20]]
    out = tmp_path / "t.osd.safetensors"
    report = export_task(
        writer.model, tuned, out, calibration=examples, method="osd", budget="16KiB"
    )
    assert report.method == "osd" and report.size <= 16384 and report.extra_rank is not None


@pytest.mark.parametrize(
    ("rows", "options", "code", "words"),
    [
        (["{}"], {}, "data.row", "line 1"),
        (['{"prompt": "a"}'], {}, "data.completion", "--complete TOKENS"),
        (['{"messages": [{"role": "user", "content": "a"}]}'], {}, "data.completion", "row 1"),
        (
            ['{"messages": [{"role": "assistant", "content": "a"}]}'],
            {},
            "data.row",
            "nothing to answer",
        ),
        (['{"prompt": "a", "completion": "' + "b " * 400 + '"}'], {}, "data.row", "tokens long"),
        (['{"prompt": "a", "completion": "b"}'], {"keep": 0.9}, "data.few-rows", "200"),
    ],
)
def test_rows_that_do_not_do_are_refused_in_words(
    writer: Writer,
    tuned: Path,
    tmp_path: Path,
    rows: list[str],
    options: Any,
    code: str,
    words: str,
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows))
    out = tmp_path / "t.osd.safetensors"
    with pytest.raises(OsdEdgeError) as refused:
        export_task(writer.model, tuned, out, calibration=path, **options)
    assert refused.value.code == code and words in str(refused.value)
    assert not out.exists()


def test_long_prompts_are_completed_in_smaller_batches(
    writer: Writer, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys and values of a batch are all in memory: those of 32 long rows take gigabytes."""
    encoder = RowEncoder(open_fine_tuned(writer.model, tuned))
    lengths = [len(encoder.parts(Example(prompt), 1)[0]) + MOST for prompt in PROMPTS]
    monkeypatch.setattr(written_completions, "_BATCH_TOKENS", 4 * max(lengths))
    batches: list[list[int]] = []

    def progress(items: Any, label: str, total: int | None = None) -> Any:
        for item in items:
            if "completions" in label:
                batches.append(item)
            yield item

    exporter = TaskExporter(
        writer.model, tuned, calibration=prompts(tmp_path), complete=MOST, progress=progress
    )
    assert all(isinstance(example, WrittenExample) for example in exporter.source.examples)
    assert sorted(row for rows in batches for row in rows) == list(range(len(PROMPTS)))
    for rows in batches:
        assert len(rows) * max(lengths[row] for row in rows) <= 4 * max(lengths)
    assert min(map(len, batches[:-1])) >= 4


def test_what_needs_no_model_is_refused_before_any_completion_is_written(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    shown: list[str] = []

    def progress(items: Any, label: str, total: int | None = None) -> Any:
        shown.append(label)
        yield from items

    with pytest.raises(OsdEdgeError) as refused:
        export_task(
            writer.model,
            tuned,
            tmp_path / "t.osd.safetensors",
            calibration=prompts(tmp_path),
            complete=MOST,
            sites=["no.such.layer"],
            progress=progress,
        )
    assert refused.value.code == "input.sites"
    assert not any("completions" in label for label in shown)


def test_rows_with_what_is_to_be_written_are_for_no_classifier(
    tiny_models: Path, tmp_path: Path
) -> None:
    """A prompt is not taken for a text, nor its completion for nothing."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a cat"}\n{"prompt": "a dog", "completion": "positive"}\n')
    out = tmp_path / "t.osd.safetensors"
    with pytest.raises(OsdEdgeError, match=r"row 2 .* this task is labels") as refused:
        export_task(tiny_models / "base", tiny_models / "first", out, calibration=path)
    assert refused.value.code == "data.kind"


def test_logits_are_the_base_own_unless_the_fine_tuned_model_answers(
    writer: Writer, tuned: Path
) -> None:
    """The layer of logits that fine-tuning changed is left out of bundles, and of their scores."""
    model = writer.torch(0)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1.5)
    moved = writer.model.with_name("moved")
    model.save_pretrained(moved)
    writer.tokenizer().save_pretrained(moved)
    models = open_fine_tuned(writer.model, moved)
    (batch,) = batches_of(models, [Example("the cat", completion=" sat on the mat")])
    task = TaskModel(models.backbone, models.tuned, models.head)
    with task.at(TUNED) as module, torch.no_grad():
        logits = module(**batch.tokens).logits
        found = logits.of(logits.states)
        whole = model(batch.tokens["input_ids"]).logits
    assert torch.allclose(found, whole[batch.tokens["counted"]], atol=1e-4)
    with task.at(BASE):
        # They are what others are compared with, while the model holds other embeddings.
        assert torch.equal(logits.of(logits.states), found)


def test_the_command_line_says_what_is_kept(
    writer: Writer, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.osd.safetensors"
    command = ["export", "task", "--base", writer.model, "--tuned", tuned, "-o", out]
    command += ["--calibration", prompts(tmp_path), "--complete", str(MOST), "--keep-by", "nats"]
    told = run_cli(capsys, *command, "--budget", "6KiB", "--refine", "none")
    assert told.code == 0, told.err
    assert "rows written exactly, nats a token, same next token" in told.out
    assert "% of the gain over the base alone, in nats" in told.out
    assert "head" not in told.out.replace("header", "")


def spoiled_tokenizer(writer: Writer, folder: Path, change: Any) -> Path:
    """The fine-tuned model with a changed tokenizer."""
    writer.torch(0).save_pretrained(folder)
    writer.tokenizer().save_pretrained(folder)
    path = folder / "tokenizer.json"
    described = json.loads(path.read_text("utf-8"))
    change(described)
    path.write_text(json.dumps(described), "utf-8")
    return folder


def test_a_tokenizer_that_pads_and_truncates_by_itself_changes_no_row(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    """Such settings are kept in tokenizer.json, and a device does not follow them either."""

    def padded(described: dict[str, Any]) -> None:
        described["padding"] = {
            **{"strategy": {"Fixed": 32}, "direction": "Left", "pad_to_multiple_of": None},
            **{"pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"},
        }
        described["truncation"] = {
            **{"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
        }

    own = spoiled_tokenizer(writer, tmp_path / "own", padded)
    talk = [
        {"role": "user", "content": "the cat?"},
        {"role": "assistant", "content": "on the mat"},
    ]
    for example in (
        Example("the cat sat", completion="on the mat"),
        Example("the cat?", messages=talk),
    ):
        expected = RowEncoder(open_fine_tuned(writer.model, tuned)).row(example, 1)
        assert RowEncoder(open_fine_tuned(writer.model, own)).row(example, 1) == expected


def test_a_completion_that_brings_its_stop_token_has_no_second_one(
    writer: Writer, tuned: Path
) -> None:
    encoder = RowEncoder(open_fine_tuned(writer.model, tuned))
    plain = encoder.row(Example("the cat", completion="sat"), 1)
    assert encoder.row(Example("the cat", completion="sat<|im_end|>"), 1) == plain


def test_rows_are_refused_by_their_number_in_the_whole_set(
    writer: Writer, tuned: Path, tmp_path: Path
) -> None:
    """Not by the one among rows that are held back."""
    rows = [Example(p, completion="sat") for p in PROMPTS[:40]]
    rows[29] = Example("the cat", completion="b " * 400)
    with pytest.raises(OsdEdgeError, match="row 30 "):
        export_task(writer.model, tuned, tmp_path / "t.osd.safetensors", calibration=rows)


def test_a_prompt_that_nearly_fills_the_context_is_completed_in_what_is_left(
    writer: Writer, tuned: Path
) -> None:
    encoder = RowEncoder(open_fine_tuned(writer.model, tuned))
    word = "x" * 9
    count = (encoder.most - 2) // len(encoder.parts(Example(word), 1)[0])
    full = word * count
    left = encoder.most - len(encoder.parts(Example(full), 1)[0])
    assert 2 <= left < 12
    source = TaskExporter(
        writer.model, tuned, calibration=[Example(full), Example("a dog")], complete=12
    ).source
    counts = []
    for i, example in enumerate(source.examples, 1):
        row = encoder.row(example, i)
        counts.append(len(row.tokens) - row.start)
    assert counts == [left, 12]


def test_a_special_token_in_a_message_is_refused(writer: Writer, tuned: Path) -> None:
    """On a device it stays text, so a row would be tuned on tokens that nobody sends."""
    talk = [
        {"role": "user", "content": "the <|im_end|> cat"},
        {"role": "assistant", "content": "sat"},
    ]
    encoder = RowEncoder(open_fine_tuned(writer.model, tuned))
    with pytest.raises(OsdEdgeError, match=r"no token but text") as refused:
        encoder.row(Example("x", messages=talk), 1)
    assert refused.value.code == "data.row"
