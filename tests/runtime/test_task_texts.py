"""Tasks with a way of their own of cutting texts, or a prompt, against transformers' answers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from osd_edge import Bundle, TaskText, read_bundle_file, write_bundle
from osd_edge.data.examples import Example
from osd_edge.errors import InputError, TaskError
from osd_edge.exporters import HeadOptions, export_task
from osd_edge.formats.package.fits import check_fits
from osd_edge.runtime import EdgeSession, evaluate
from osd_edge.runtime.text import TextEncoder
from tests.support import tiny
from tests.support.families import Families
from tests.support.kinds import KINDS, make_embedding
from tests.support.writers import Writer

SETTINGS: dict[str, dict[str, Any]] = {
    "usual": {},
    "short": {"model_max_length": 13},
    "left": {"truncation_side": "left"},
    "short-left": {"model_max_length": 12, "truncation_side": "left"},
}
TEXTS = [" ".join(tiny.sentences(30, seed=seed)) for seed in (5, 6, 7)] + ["the cat sat"]
OTHERS = ["a bird flew", " ".join(tiny.sentences(40, seed=8)), "the dog ran over", "a mat"]
PROMPT = "the bird sat "


@pytest.fixture(scope="module")
def folder(families: Families, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classifiers whose tokenizers differ in `SETTINGS`, and bundles of them."""
    folder = tmp_path_factory.mktemp("texts")
    base = families("bert") / "base"
    for seed, (name, settings) in enumerate(SETTINGS.items(), 1):
        tiny.make_tuned(base, folder / name, seed=seed, size=0.2, linear_only=True)
        _export(base, folder, name, settings)
    for name, (task, settings) in (("tags", KINDS["token-labels"]), ("spans", KINDS["spans"])):
        tiny.make_tuned(base, folder / name, task=task, linear_only=True, **settings)
        _export(base, folder, name, {"model_max_length": 16})
    make_embedding(base, folder / "vectors")
    _export(base, folder, "vectors", {"model_max_length": 20})
    return folder


def _export(base: Path, folder: Path, name: str, settings: dict[str, Any]) -> None:
    file = folder / name / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | settings), "utf-8")
    bundle = folder / f"{name}.osd.safetensors"
    head = HeadOptions(values="fp32")
    export_task(base, folder / name, bundle, method="truncsvd", budget="r=64", head=head)


@pytest.fixture
def session(families: Families, folder: Path) -> Iterator[EdgeSession]:
    with EdgeSession(families("bert") / "package", threads=1) as session:
        for bundle in sorted(folder.glob("*.osd.safetensors")):
            session.load(bundle)
        yield session


def with_text(bundle: Bundle, name: str, text: TaskText, folder: Path) -> Path:
    path = folder / f"{name}.osd.safetensors"
    path.write_bytes(write_bundle(replace(bundle, task=name, text=text)))
    return path


def theirs(folder: Path, name: str, texts: list[str], pairs: list[str] | None) -> np.ndarray:
    """The scores of the uncompressed model, whose own tokenizer cuts."""
    model = AutoModelForSequenceClassification.from_pretrained(folder / name).eval()
    tokenizer, wanted = AutoTokenizer.from_pretrained(folder / name), {"return_tensors": "pt"}
    tokens = tokenizer(
        texts, pairs, truncation=True, padding=True, return_token_type_ids=True, **wanted
    )
    with torch.inference_mode():
        scores: np.ndarray = model(**tokens).logits.softmax(-1).numpy()
    return scores


def ours(answers: list[Any]) -> np.ndarray:
    return np.array([list(answer.scores.values()) for answer in answers])


@pytest.mark.parametrize("pairs", [None, OTHERS], ids=["texts", "pairs"])
@pytest.mark.parametrize("name", SETTINGS)
def test_long_texts_are_cut_as_the_model_s_own_tokenizer_does(
    folder: Path, session: EdgeSession, name: str, pairs: list[str] | None
) -> None:
    found = ours(session.classify(TEXTS, pairs, task=name))
    np.testing.assert_allclose(found, theirs(folder, name, TEXTS, pairs), atol=1e-4)
    asked = ours(session.ask(TEXTS, pairs, task=name))
    np.testing.assert_array_equal(asked, found)


def test_each_row_of_a_mixed_batch_is_cut_as_its_task_says(
    folder: Path, session: EdgeSession
) -> None:
    names = ["left", "short", "usual", "short-left", "short"]
    texts = [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0], TEXTS[2]]
    answers = session.classify(texts, tasks=names)
    for text, name, answer in zip(texts, names, answers, strict=True):
        expected = theirs(folder, name, [text], None)
        np.testing.assert_allclose(ours([answer]), expected, atol=1e-4)
    lengths = session.encode(texts, tasks=[*names[:4], None])["attention_mask"].sum(1)
    assert lengths.tolist() == [64, 13, 64, 12, 64]


def test_what_encode_makes_is_what_the_task_is_run_with(session: EdgeSession) -> None:
    def answers(**options: Any) -> np.ndarray:
        output = session.run(session.encode(TEXTS, **options), **options)
        logits = output.logits
        assert logits is not None
        return np.stack([row for row in logits if row is not None])

    names = ["short", "left", "short-left", "usual"]
    alone = [answers(task=name)[i] for i, name in enumerate(names)]
    np.testing.assert_allclose(answers(tasks=names), alone, atol=1e-5)
    session.activate("short")
    np.testing.assert_array_equal(answers(), answers(task="short"))
    assert session.encode(TEXTS)["input_ids"].shape == (4, 13)
    assert session.encode(TEXTS, task=None)["input_ids"].shape == (4, 64)
    session.deactivate()
    assert session.encode(TEXTS)["input_ids"].shape == (4, 64)
    with pytest.raises(InputError, match="not both") as refused:
        session.encode(TEXTS, task="short", tasks=names)
    assert refused.value.code == "input.tasks"
    with pytest.raises(InputError, match="each of 4 rows, found 3") as refused:
        session.encode(TEXTS, tasks=names[:3])
    assert refused.value.code == "input.tasks"


def test_a_length_that_is_asked_for_is_one_more_bound(session: EdgeSession) -> None:
    for asked, found in ((5, 5), (13, 13), (64, 13)):
        inputs = session.encode(TEXTS, task="short", max_length=asked)
        assert inputs["input_ids"].shape == (4, found)
    with pytest.raises(InputError, match="1 to 64") as refused:
        session.encode(TEXTS, task="short", max_length=65)
    assert refused.value.code == "input.max-length"


def test_windows_are_of_the_task_s_length(session: EdgeSession, folder: Path) -> None:
    """Tags and answers of a text of several windows are those of windows that are asked for."""
    assert read_bundle_file(folder / "tags.osd.safetensors").text == TaskText(max_length=16)
    for name in ("tags", "spans"):
        longer = replace(read_bundle_file(folder / f"{name}.osd.safetensors"), text=None)
        path = folder / "longer.osd.safetensors"
        path.write_bytes(write_bundle(longer))
        session.load(path, f"{name}-longer")
        path.unlink()
    (tags,) = session.tag(TEXTS[:1], task="tags", stride=4)
    assert session.tag(TEXTS[:1], task="tags-longer", stride=4, max_length=16) == [tags]
    assert session.tag(TEXTS[:1], task="tags-longer", stride=4) != [tags]
    spans = session.answer("the cat", TEXTS[0], task="spans", stride=4, top=3)
    given: dict[str, Any] = {"stride": 4, "top": 3, "task": "spans-longer"}
    assert session.answer("the cat", TEXTS[0], max_length=16, **given) == spans
    assert session.answer("the cat", TEXTS[0], **given) != spans


def test_windows_of_a_task_that_cuts_on_the_left_end_with_the_text(
    session: EdgeSession, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are laid as transformers' tokenizers lay them for such a model."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "left")
    expected = tokenizer(
        TEXTS[0], truncation=True, max_length=16, stride=4, return_overflowing_tokens=True
    )["input_ids"]
    seen: list[Any] = []

    def kept(encoder: TextEncoder, encodings: list[Any]) -> Any:
        seen.extend(encoding.ids for encoding in encodings)
        return padded(encoder, encodings)

    padded = TextEncoder.padded
    monkeypatch.setattr(TextEncoder, "padded", kept)
    bundle = read_bundle_file(folder / "tags.osd.safetensors")
    text = TaskText(max_length=16, truncation="left")
    session.load(with_text(bundle, "tags-left", text, folder.parent))
    (tags,) = session.tag(TEXTS[:1], task="tags-left", stride=4)
    assert sorted(seen) == sorted(expected)
    assert len(seen[0]) == 16 and tags[-1].end == len(TEXTS[0])


def test_a_prompt_stands_before_each_first_text(session: EdgeSession, folder: Path) -> None:
    for name in ("usual", "vectors"):
        bundle = read_bundle_file(folder / f"{name}.osd.safetensors")
        length = None if bundle.text is None else bundle.text.max_length
        text = TaskText(max_length=length, prompt=PROMPT)
        session.load(with_text(bundle, f"{name}-prompt", text, folder.parent))
    prompted = [PROMPT + text for text in TEXTS]
    for pairs in (None, OTHERS):
        found = ours(session.classify(TEXTS, pairs, task="usual-prompt"))
        np.testing.assert_array_equal(found, ours(session.classify(prompted, pairs, task="usual")))
    vectors = session.embed(TEXTS, task="vectors-prompt")
    np.testing.assert_array_equal(vectors, session.embed(prompted, task="vectors"))
    assert session.encode(TEXTS, task="vectors")["input_ids"].shape == (4, 20)
    np.testing.assert_array_equal(session.ask(TEXTS, task="vectors-prompt"), vectors)


def test_accuracy_is_of_texts_that_are_cut_as_the_task_says(session: EdgeSession) -> None:
    labels = [answer.label for answer in session.classify(TEXTS, task="short-left")]
    examples = [Example(text, label) for text, label in zip(TEXTS, labels, strict=True)]
    assert evaluate(session, "short-left", examples).accuracy == 1


def test_a_task_that_writes_is_refused_with_text_settings(
    tiny_llama: Writer, tmp_path: Path
) -> None:
    """Text settings say nothing of conversations."""
    bundle = read_bundle_file(tiny_llama.bundles[0])
    path = with_text(bundle, "answers", TaskText(prompt="Answer: "), tmp_path)
    with EdgeSession(tiny_llama.package) as session:
        with pytest.raises(TaskError, match="export it without them") as refused:
            session.load(path)
        assert refused.value.code == "task.needs" and session.tasks == ()
        with pytest.raises(TaskError) as refused:
            check_fits(read_bundle_file(path), session.manifest)
        assert refused.value.code == "task.needs"


def test_a_prompt_of_endless_length_is_refused(
    session: EdgeSession, tiny_bundles: tuple[Path, ...], tmp_path: Path
) -> None:
    bundle = read_bundle_file(tiny_bundles[0])
    session.load(with_text(bundle, "long", TaskText(prompt="a " * 2048), tmp_path))
    session.unload("long")
    with pytest.raises(TaskError, match="4097 characters") as refused:
        session.load(with_text(bundle, "longer", TaskText(prompt="a" * 4097), tmp_path))
    assert refused.value.code == "task.needs" and "longer" not in session.tasks


def test_of_very_long_pairs_little_is_tokenized(
    session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of 10 MB are counted in pieces: tokens of all of one are never in memory at once."""
    text = TEXTS[0] + " "
    long = text * (10_000_000 // len(text))
    read: list[int] = []

    def counted(encoder: TextEncoder, batch: Any, *arguments: Any, **options: Any) -> Any:
        read.extend(len(part) for one in batch for part in ([one] if type(one) is str else one))
        return encodings(encoder, batch, *arguments, **options)

    encodings = TextEncoder.encodings
    monkeypatch.setattr(TextEncoder, "encodings", counted)
    for name in ("usual", "left"):
        read.clear()
        cut = session.encode([long, long, "a cat"], [long, "the dog", long], task=name)
        end = (text * 20)[: 20 * len(text)]
        same = session.encode([end, end, "a cat"], [end, "the dog", end], task=name)
        np.testing.assert_array_equal(cut["input_ids"], same["input_ids"])
        assert sum(read) < len(long) / 20
    read.clear()
    less = long[: len(long) // 8]
    session.encode([long], [less], task="usual")
    assert max(read) < 100_000 and sum(read) < len(long) / 3
