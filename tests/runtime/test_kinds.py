"""Every kind of task over one base, against transformers' answers with the same models."""

import json
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

from benchmarks.span_finder import SpanFinder
from osd_edge.data.examples import Example
from osd_edge.errors import DataError, InputError, TaskError
from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.runtime import EdgeSession, evaluate
from osd_edge.runtime.kinds.tag import find_tags
from osd_edge.runtime.measures.entities import entities_of
from tests.support import tiny
from tests.support.command_line import run_cli
from tests.support.kinds import KINDS, make_embedding, with_marks

QUESTION = "a cat on the mat"
LENGTH, STRIDE = 32, 8  # so that a text of a hundred words is several windows
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "labels": (AutoModelForSequenceClassification, {}),
    **KINDS,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, its package, and a model and a bundle of each kind, named for it."""
    folder = tmp_path_factory.mktemp("kinds")
    base = tiny.make_base("bert", folder / "base")
    export_base(base, folder / "package")
    for seed, (kind, (task, settings)) in enumerate(MODELS.items(), 1):
        tiny.make_tuned(
            base, folder / kind, task=task, seed=seed, size=0.2, linear_only=True, **settings
        )
    make_embedding(base, folder / "embedding")
    for kind in (*MODELS, "embedding"):
        export_task(
            base,
            folder / kind,
            folder / f"{kind}.osd.safetensors",
            method="truncsvd",
            budget="r=64",
            head=HeadOptions(values="fp32"),
        )
    return folder


@pytest.fixture(scope="module")
def session(folder: Path) -> EdgeSession:
    """All kinds loaded over one base."""
    session = EdgeSession(folder / "package", threads=1)
    for kind in (*MODELS, "embedding"):
        assert session.load(folder / f"{kind}.osd.safetensors") == kind
        assert session.kind(kind) == kind
    return session


def reference(folder: Path, task: str, kind: str) -> Any:
    """The transformers pipeline of the uncompressed model, without its own warnings."""
    made = pipeline(task, model=str(folder / kind), tokenizer=str(folder / kind))

    def ask(*arguments: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return made(*arguments, **options)

    return ask


@pytest.mark.parametrize("kind", ["labels", "multi-label", "regression"])
def test_classify(folder: Path, session: EdgeSession, kind: str) -> None:
    texts = tiny.sentences(5, seed=3)
    expected = reference(folder, "text-classification", kind)(texts, top_k=None)
    for ours, theirs in zip(session.classify(texts, task=kind), expected, strict=True):
        assert ours.label == theirs[0]["label"]
        for entry in theirs:
            assert ours.scores[entry["label"]] == pytest.approx(entry["score"], abs=1e-4)
        if kind == "multi-label":
            applies = {entry["label"] for entry in theirs if entry["score"] >= 0.5}
            assert set(ours.chosen()) == applies


@pytest.mark.parametrize(("words", "strategy"), [(False, "simple"), (True, "first")])
def test_tag(folder: Path, session: EdgeSession, words: bool, strategy: str) -> None:
    texts = tiny.sentences(6, seed=4, longest=30)
    tagger = reference(folder, "token-classification", "token-labels")
    expected = tagger(texts, aggregation_strategy=strategy)
    found = session.tag(texts, words=words, task="token-labels")
    assert sum(map(len, found)) > 10
    for ours, theirs in zip(found, expected, strict=True):
        assert [(t.label, t.start, t.end) for t in ours] == [
            (t["entity_group"], t["start"], t["end"]) for t in theirs
        ]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score == pytest.approx(float(other["score"]), abs=1e-4)


def test_tag_of_a_long_text_covers_all_of_it(session: EdgeSession) -> None:
    text = " ".join(tiny.sentences(30, seed=5))
    assert len(text.split()) > 100
    (tags,) = session.tag([text], task="token-labels", max_length=LENGTH, stride=STRIDE)
    assert tags[-1].end > len(text) * 0.8
    assert all(one.end <= other.start for one, other in pairwise(tags))
    assert all(text[tag.start : tag.end] == tag.text for tag in tags)


@pytest.mark.parametrize("top", [1, 4])
def test_answer(folder: Path, session: EdgeSession, top: int) -> None:
    """In one window, and in several that overlap."""
    finder = SpanFinder(folder / "spans")
    contexts = [tiny.sentences(1, seed=6, longest=20)[0], " ".join(tiny.sentences(14, seed=7))]
    for context in contexts:
        expected = finder(QUESTION, context, top=top, max_length=LENGTH, stride=STRIDE)
        found = session.answer(
            QUESTION, context, task="spans", top=top, max_length=LENGTH, stride=STRIDE
        )
        assert [(s.text, s.start, s.end) for s in found] == [
            (s["text"], s["start"], s["end"]) for s in expected
        ]
        assert [s.score for s in found] == pytest.approx([s["score"] for s in expected], abs=1e-4)


def test_embed(folder: Path, session: EdgeSession) -> None:
    texts = tiny.sentences(4, seed=8)
    tokens = AutoTokenizer.from_pretrained(folder / "base")(
        texts, padding=True, return_tensors="pt", return_token_type_ids=True
    )
    model = AutoModel.from_pretrained(folder / "embedding", add_pooling_layer=False).eval()
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()
    found = session.embed(texts, task="embedding")
    assert found.shape == (4, 32) and np.abs(found - expected).max() <= 1e-4


def test_kinds_are_swapped_request_by_request(folder: Path, session: EdgeSession) -> None:
    """In any order the answers are those of a session that has one task."""
    text = tiny.sentences(1, seed=9, longest=30)[0]

    def ask(one: EdgeSession, kind: str) -> Any:
        one.activate(kind)
        if kind == "token-labels":
            return one.tag([text])
        if kind == "spans":
            return one.answer(QUESTION, text)
        if kind == "embedding":
            return one.embed([text]).tolist()
        return one.classify([text])

    alone = {}
    for kind in (*MODELS, "embedding"):
        single = EdgeSession(folder / "package", threads=1)
        single.load(folder / f"{kind}.osd.safetensors")
        alone[kind] = ask(single, kind)
    order = np.random.default_rng(0).choice([*alone], 40)
    assert all(ask(session, kind) == alone[kind] for kind in order)
    session.deactivate()


def test_ask_gives_what_the_method_of_the_kind_gives(session: EdgeSession) -> None:
    texts = tiny.sentences(3, seed=12, longest=30)
    for kind in ("labels", "multi-label", "regression"):
        assert session.ask(texts, task=kind) == session.classify(texts, task=kind)
        paired = session.ask(texts, texts[::-1], task=kind)
        assert (
            paired
            == session.classify(texts, texts[::-1], task=kind)
            != session.ask(texts, task=kind)
        )
    assert session.ask(texts, task="token-labels") == session.tag(texts, task="token-labels")
    assert session.ask(texts, task="spans", question=QUESTION) == [
        session.answer(QUESTION, text, task="spans") for text in texts
    ]
    vectors = session.ask(texts, task="embedding", max_length=5)
    assert np.array_equal(vectors, session.embed(texts, task="embedding", max_length=5))


@pytest.mark.parametrize("kind", ["spans", "token-labels", "embedding"])
def test_ask_refuses_second_texts_where_they_mean_nothing(session: EdgeSession, kind: str) -> None:
    with pytest.raises(InputError, match="second texts") as caught:
        session.ask(["a cat"], ["a dog"], task=kind, question=QUESTION)
    assert caught.value.code == "input.texts"


@pytest.mark.parametrize("kind", ["spans", "token-labels"])
def test_ask_takes_a_list_and_not_a_text(session: EdgeSession, kind: str) -> None:
    with pytest.raises(InputError) as caught:
        session.ask("a cat", task=kind, question=QUESTION)
    assert caught.value.code == "input.texts"


def test_ask_needs_a_task_and_a_question(session: EdgeSession) -> None:
    with pytest.raises(TaskError) as none:
        session.ask(["a cat"])
    assert none.value.code == "task.none"
    with pytest.raises(InputError) as caught:
        session.ask(["a cat"], task="spans")
    assert caught.value.code == "input.question"


def test_a_task_of_another_kind_is_refused(session: EdgeSession) -> None:
    for ask in (
        lambda: session.classify(["a cat"], task="spans"),
        lambda: session.tag(["a cat"], task="labels"),
        lambda: session.answer(QUESTION, "a cat", task="token-labels"),
        lambda: session.embed(["a cat"], task="labels"),
    ):
        with pytest.raises(TaskError) as caught:
            ask()
        assert caught.value.code == "task.kind"
    with pytest.raises(TaskError, match="for tasks of the kind labels, multi-label, regression;"):
        session.classify(["a cat"], task="spans")
    with pytest.raises(TaskError) as none:
        session.tag(["a cat"])
    assert none.value.code == "task.none"


def test_a_question_that_leaves_no_room_is_refused(session: EdgeSession) -> None:
    with pytest.raises(InputError) as caught:
        session.answer("cat " * 30, "a dog", task="spans", max_length=24)
    assert caught.value.code == "input.max-length"


def test_keywords_that_are_not_known_are_refused(session: EdgeSession) -> None:
    with pytest.raises(TypeError, match=r"tag\(\) got an unexpected keyword argument 'strides'"):
        session.tag(["a cat"], task="token-labels", strides=8)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"answer\(\) got an unexpected keyword argument 'length'"):
        session.answer(QUESTION, "a cat", task="spans", length=8)  # type: ignore[call-arg]


def test_windows_without_room_are_refused_where_a_text_needs_several(session: EdgeSession) -> None:
    (tags,) = session.tag(["a"], task="token-labels", max_length=4)
    assert all(tag.text == "a" for tag in tags)
    with pytest.raises(InputError) as caught:
        session.tag(["a cat sat on the mat"], task="token-labels", max_length=4)
    assert caught.value.code == "input.max-length"


def test_the_command_line_answers_by_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(kind: str, *options: str) -> Any:
        bundle = folder / f"{kind}.osd.safetensors"
        result = run_cli(
            capsys,
            *("run", "--base", folder / "package", "--bundle", bundle, "--json"),
            *("--text", "a cat sat on the mat", *options),
        )
        return json.loads(result.out) if result.code == 0 else result.err

    assert {row["label"] for row in ask("token-labels")} <= {"ANIMAL", "PLACE"}
    (span,) = ask("spans", "--question", QUESTION)
    assert "a cat sat on the mat"[span["start"] : span["end"]] == span["label"]
    assert len(ask("embedding")[0]["vector"]) == 32
    assert "input.question" in ask("spans")


@pytest.mark.parametrize("kind", [*MODELS, "embedding"])
@pytest.mark.parametrize("refine", ["none", "scales"])
def test_compressed_with_calibration(
    folder: Path, tmp_path: Path, short_training: None, kind: str, refine: str
) -> None:
    """Statistics, refinement, frozen head and scores work for the kind's own logits."""
    texts = tiny.sentences(40, seed=10, longest=30)
    examples = [
        Example(text, None, other if kind == "spans" else None)
        for text, other in zip(texts, texts[::-1], strict=True)
    ]
    path = tmp_path / "task.osd.safetensors"
    report = export_task(
        folder / "base",
        folder / kind,
        path,
        budget="16KiB",
        refine=refine,
        calibration=examples,
    )
    assert report.fine_tuned is not None and report.compressed is not None
    assert report.frozen_head is not None
    assert report.fine_tuned.accuracy == pytest.approx(1) and report.fine_tuned.loss < 1e-5
    assert report.compressed.loss < report.frozen_head.loss
    session = EdgeSession(folder / "package", threads=1)
    assert session.kind(session.load(path)) == kind


def test_rows_of_every_kind_in_one_batch(session: EdgeSession) -> None:
    """Each row has what its own kind gives, as in a batch by itself."""
    kinds = ["spans", "labels", "embedding", "token-labels", "multi-label", "regression"]
    texts = tiny.sentences(len(kinds), seed=8)
    inputs = session.encode(texts)
    mixed = session.run(inputs, tasks=kinds)
    for i, kind in enumerate(kinds):
        alone = session.run({k: x[i : i + 1] for k, x in inputs.items()}, task=kind).logits
        found = mixed.logits[i]
        assert found is not None and alone is not None and found.shape == alone[0].shape
        assert np.abs(found - alone[0]).max() < 1e-4
    chosen = ["regression", "labels", "multi-label"]
    answers = session.classify(texts[:3], tasks=chosen)
    for text, kind, answer in zip(texts[:3], chosen, answers, strict=True):
        (alone_answer,) = session.classify([text], task=kind)
        assert answer.scores == pytest.approx(alone_answer.scores, abs=1e-4)
    with pytest.raises(TaskError, match="is of the kind spans") as refusal:
        session.classify(texts[:2], tasks=["labels", "spans"])
    assert refusal.value.code == "task.kind"


def words_of(count: int, seed: int) -> list[list[str]]:
    return [text.split() for text in tiny.sentences(count, seed=seed)]


def tags_by_transformers(folder: Path, words: list[str]) -> list[str]:
    """The label of each word's first token."""
    config = AutoConfig.from_pretrained(folder / "token-labels")
    return word_labels(folder, words, [config.id2label[i] for i in range(len(config.id2label))])


def word_labels(folder: Path, words: list[str], labels: Sequence[str]) -> list[str]:
    """The label of each word's first token, where the model's outputs are called `labels`."""
    model = AutoModelForTokenClassification.from_pretrained(folder / "token-labels").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "token-labels")
    tokens = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.inference_mode():
        best = model(**tokens).logits[0].argmax(-1).tolist()
    first: dict[int, str] = {}
    for word, label in zip(tokens.word_ids(), best, strict=True):
        if word is not None:
            first.setdefault(word, labels[label])
    return [first[number] for number in range(len(words))]


def test_a_tagger_is_scored_by_its_entities(
    folder: Path, session: EdgeSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = words_of(12, seed=21)
    tags = [tags_by_transformers(folder, words) for words in rows]
    examples = [Example(" ".join(w), words=w, tags=t) for w, t in zip(rows, tags, strict=True)]
    assert evaluate(session, "token-labels", examples).scores == {
        "f1": 1.0,
        "precision": 1.0,
        "recall": 1.0,
    }
    missing = [Example(" ".join(w), words=w, tags=["O"] * len(w)) for w in rows[6:]]
    scores = evaluate(session, "token-labels", [*examples[:6], *missing]).scores
    assert scores["recall"] == 1.0 and 0 < (scores["precision"] or 0) < 1

    data = tmp_path / "test.CONLL"
    lines = [
        "".join(f"{w}\t{t}\n" for w, t in zip(*row, strict=True))
        for row in zip(rows, tags, strict=True)
    ]
    data.write_text("\n".join(lines), "utf-8")
    command = ("evaluate", "--base", folder / "package", "--data", data)
    bundle = ("--bundle", folder / "token-labels.osd.safetensors")
    shown = json.loads(run_cli(capsys, *command, *bundle, "--json").out)
    assert shown["f1"] == 1.0 and shown["examples"] == 12 and "accuracy" not in shown
    assert "f1 100.0 %" in run_cli(capsys, *command, *bundle).out


def test_a_tagger_is_scored_by_parts_of_texts(folder: Path, session: EdgeSession) -> None:
    texts = tiny.sentences(6, seed=4, longest=30)
    found = reference(folder, "token-classification", "token-labels")(
        texts, aggregation_strategy="first"
    )
    examples = [
        Example(text, parts=[(e["start"], e["end"], e["entity_group"]) for e in entities])
        for text, entities in zip(texts, found, strict=True)
    ]
    assert evaluate(session, "token-labels", examples).scores["f1"] == 1.0


def test_a_tagger_whose_labels_say_where_parts_end(folder: Path, tmp_path: Path) -> None:
    session = EdgeSession(folder / "package", threads=1)
    session.load(with_marks(folder / "token-labels.osd.safetensors", tmp_path / "marks"))
    known = session.labels("marks")
    rows, parts = words_of(12, seed=21), []
    for words in rows:
        tags = word_labels(folder, words, known)
        starts = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words) + 1)]
        parts.append([(starts[a], starts[b] - 1, label) for label, a, b in entities_of(tags)])
    found = session.tag([" ".join(words) for words in rows], words=True, task="marks")
    # seqeval takes the E of a label called E-MAIL for a mark, so what it has of X is compared.
    of_x = [[(t.start, t.end, t.label) for t in tags if t.label == "X"] for tags in found]
    assert of_x == [sorted(part for part in row if part[2] == "X") for row in parts]
    assert {tag.label for tags in found for tag in tags} == {"X", "E-MAIL"}
    examples = [
        Example(" ".join(words), parts=[(t.start, t.end, t.label) for t in tags])
        for words, tags in zip(rows, found, strict=True)
    ]
    assert evaluate(session, "marks", examples).scores["f1"] == 1.0


def test_marks_within_a_word_neither_begin_nor_end_a_part() -> None:
    """But for B-, as in transformers."""
    labels = ("O", "B-LOC", "I-LOC", "E-LOC", "S-LOC")
    tokens = [(0, 3, 0), (4, 8, 1), (8, 13, 1), (14, 16, 2), (16, 18, 2)]
    marks = [1, 3, 3, 4, 4]
    window = SimpleNamespace(
        special_tokens_mask=[0] * 5,
        offsets=[(start, end) for start, end, _ in tokens],
        word_ids=[word for *_, word in tokens],
    )
    logits = np.eye(5, dtype=np.float32)[marks] * 9
    windows: Any = SimpleNamespace(of_text=list, logits=lambda *_: iter([(window, logits)]))
    run: Any = None
    found = find_tags("New Yorkshire Oslo", windows, run, labels)
    assert [tag.text for tag in found] == ["New Yorkshire", "Oslo"]


def test_a_regression_is_scored_by_correlation(folder: Path, session: EdgeSession) -> None:
    texts = tiny.sentences(40, seed=22)
    asked = reference(folder, "text-classification", "regression")
    given = [row["score"] for row in asked(texts)]
    right = [round(number, 1) + 0.2 * (i % 3) for i, number in enumerate(given)]
    rows = [Example(text, repr(number)) for text, number in zip(texts, right, strict=True)]
    scores = evaluate(session, "regression", rows).scores
    assert scores["pearson"] == pytest.approx(stats.pearsonr(given, right).statistic, abs=1e-3)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(given, right).statistic, abs=0.02)
    alike = evaluate(session, "regression", [Example(text, "1") for text in texts])
    assert alike.as_dict()["pearson"] is None and alike.accuracy is None


def test_several_labels_are_scored_by_f1(folder: Path, session: EdgeSession) -> None:
    texts = tiny.sentences(12, seed=23)
    asked = reference(folder, "text-classification", "multi-label")(texts, top_k=None)
    chosen = [[e["label"] for e in row if e["score"] >= 0.5] for row in asked]
    assert len({len(labels) for labels in chosen}) > 1
    rows = [Example(text, labels=labels) for text, labels in zip(texts, chosen, strict=True)]
    scores = evaluate(session, "multi-label", rows).scores
    assert scores["f1"] == scores["exact_match"] == 1.0
    joined = [Example(t, ", ".join(c)) for t, c in zip(texts, chosen, strict=True) if c]
    assert evaluate(session, "multi-label", joined).scores["f1"] == 1.0
    numbers = [
        Example(t, labels=[str(tiny.LABELS.index(label)) for label in c])
        for t, c in zip(texts, chosen, strict=True)
    ]
    assert evaluate(session, "multi-label", numbers).scores["f1"] == 1.0


def test_answers_are_scored_by_exact_match_and_f1(folder: Path, session: EdgeSession) -> None:
    contexts = [text for text in tiny.sentences(8, seed=24) if len(text.split()) > 3]
    finder = SpanFinder(folder / "spans")
    right = [finder(QUESTION, context)[0]["text"] for context in contexts]
    rows = [
        Example(QUESTION, text_pair=context, answers=["nothing", answer])
        for context, answer in zip(contexts, right, strict=True)
    ]
    assert evaluate(session, "spans", rows).scores == {"exact_match": 1.0, "f1": 1.0}
    wrong = [Example(QUESTION, text_pair=contexts[0], answers=["nothing"])]
    assert evaluate(session, "spans", wrong).scores == {"exact_match": 0.0, "f1": 0.0}


def test_an_embedding_is_scored_by_its_pairs(session: EdgeSession) -> None:
    texts = sorted(set(tiny.sentences(40, seed=25)))
    partners = [f"{text} {texts[i - 1].split()[0]}" for i, text in enumerate(texts)]
    vectors, others = (session.embed(x, task="embedding") for x in (texts, partners))
    alike = (vectors * others).sum(1)  # of length 1
    labels = [round(float(x), 2) for x in alike]
    rows = [Example(t, str(x), p) for t, x, p in zip(texts, labels, partners, strict=True)]
    scores = evaluate(session, "embedding", rows).scores
    assert scores["spearman"] == pytest.approx(stats.spearmanr(alike, labels).statistic, abs=0.02)
    unlabelled = [Example(t, text_pair=p) for t, p in zip(texts, partners, strict=True)]
    scores = evaluate(session, "embedding", unlabelled).scores
    nearest = (vectors @ others.T).argmax(1)
    assert scores["recall@1"] == pytest.approx((nearest == np.arange(len(texts))).mean())
    itself = [Example(text, text_pair=text) for text in texts]
    assert evaluate(session, "embedding", itself).scores["mean_reciprocal_rank"] == 1.0


@pytest.mark.parametrize(
    ("kind", "row", "code"),
    [
        ("labels", Example("a cat"), "data.unlabelled"),
        ("labels", Example("a cat", "purple"), "data.label"),
        ("multi-label", Example("a cat"), "data.unlabelled"),
        ("multi-label", Example("a cat", "red, purple"), "data.label"),
        ("regression", Example("a cat"), "data.unlabelled"),
        ("regression", Example("a cat", "warm"), "data.label"),
        ("regression", Example("a cat", "nan"), "data.label"),
        ("regression", Example("a cat", labels=["1", "2"]), "data.label"),
        ("token-labels", Example("a cat", "red"), "data.unlabelled"),
        ("token-labels", Example("a cat", parts=[(2, 5, "PERSON")]), "data.label"),
        ("token-labels", Example("a", words=["a"], tags=["B-PERSON"]), "data.label"),
        ("token-labels", Example("a  b", words=["a", "b"], tags=["O", "O"]), "data.row"),
        ("spans", Example("who?", text_pair="a cat"), "data.unlabelled"),
        ("spans", Example("a cat", "red"), "data.unlabelled"),
        ("embedding", Example("a cat"), "data.unlabelled"),
        ("embedding", Example("a cat", "alike", "a dog"), "data.label"),
        ("embedding", Example("a cat", text_pair="a dog"), "data.empty"),
    ],
)
def test_rows_without_the_right_answer_of_a_kind_are_refused(
    session: EdgeSession, kind: str, row: Example, code: str
) -> None:
    with pytest.raises(DataError) as refused:
        evaluate(session, kind, [row])
    assert refused.value.code == code
