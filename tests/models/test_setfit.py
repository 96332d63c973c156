"""SetFit models become classifiers that answer as scikit-learn does; their pickle is never run."""

import json
import pickle
import random
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier

from osd_edge.data.examples import Example
from osd_edge.errors import ModelError
from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.exporters.compare.comparison import MethodComparison, compare, grid
from osd_edge.exporters.models.fine_tuned import FineTuned, open_fine_tuned
from osd_edge.exporters.models.pickled_records import PickleError, read_pickle
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.checkpoints import refusal
from tests.support.setfit import make_setfit, random_vectors, torch_head, vectors
from tests.support.spoiled import edit

TEXTS = tiny.sentences(6, seed=4)
NAMES = ["negative", "neutral", "positive"]
NEAR = 1e-6  # of a chance in float32


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base("bert", tmp_path_factory.mktemp("setfit") / "base")


def fitted(classes: Any) -> Any:
    """A logistic regression of 60 random vectors, whose classes go round."""
    targets = [classes[i % len(classes)] for i in range(60)]
    return LogisticRegression(C=10).fit(random_vectors(), targets)


def of_several(kind: Any, labels: int = 4) -> Any:
    targets = np.random.default_rng(1).integers(0, 2, (60, labels))
    return kind(LogisticRegression(C=10)).fit(random_vectors(), targets)


def chances(pair: FineTuned) -> Any:
    """The chances of each label by the task's torch model."""
    tokens = tiny.tokens_of(pair.tuned.folder, TEXTS, pair.backbone.family.inputs)
    model = TaskModel(pair.backbone, pair.tuned, pair.head)
    tokens |= {"attention_mask": (tokens["input_ids"] != 0).long()}
    with model.at(TUNED) as module, torch.inference_mode():
        logits = module(**tokens).logits
    return (logits.softmax(-1) if pair.head.kind == "labels" else logits.sigmoid()).numpy()


@pytest.mark.parametrize(
    ("classes", "named", "labels"),
    [
        ([0, 1, 2], NAMES, ("negative", "neutral", "positive")),
        ([2, 0], NAMES, ("negative", "positive")),  # the classes of few examples
        ([0, 1], None, ("0", "1")),
        ([True, False], ["no", "yes"], ("no", "yes")),
        (["red", "green", "blue"], None, ("blue", "green", "red")),
        (["red", "green"], ["green", "red"], ("green", "red")),
        (np.array(["red", "green"], dtype=object), None, ("green", "red")),
    ],
)
def test_chances_are_scikit_learns(
    base: Path, tmp_path: Path, classes: Any, named: Any, labels: tuple[str, ...]
) -> None:
    head = fitted(classes)
    folder = make_setfit(base, tmp_path / "tuned", head, labels=named)
    pair = open_fine_tuned(base, folder)
    assert (pair.head.kind, pair.head.pooling, pair.labels) == ("labels", "mean", labels)
    expected = head.predict_proba(vectors(folder, TEXTS))
    assert np.abs(chances(pair) - expected).max() < NEAR
    assert np.ptp(expected, axis=0).max() > 100 * NEAR


@pytest.mark.parametrize("kind", [OneVsRestClassifier, MultiOutputClassifier])
def test_several_labels(base: Path, tmp_path: Path, kind: Any) -> None:
    head = of_several(kind)
    folder = make_setfit(base, tmp_path / "tuned", head, labels=["a", "b", "c", "d"])
    pair = open_fine_tuned(base, folder)
    assert (pair.head.kind, pair.labels) == ("multi-label", ("a", "b", "c", "d"))
    expected = head.predict_proba(vectors(folder, TEXTS))
    if kind is MultiOutputClassifier:  # no and yes, of each label
        expected = np.stack(expected, 1)[..., 1]
    assert np.abs(chances(pair) - expected).max() < NEAR
    assert ((chances(pair) > 0.5) == head.predict(vectors(folder, TEXTS))).all()


@pytest.mark.parametrize("several", [False, True])
def test_a_head_of_torch(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    head = torch_head(monkeypatch, 3, several=several)
    folder = make_setfit(base, tmp_path / "tuned", head, labels=NAMES)
    pair = open_fine_tuned(base, folder)
    assert pair.head.kind == ("multi-label" if several else "labels")
    assert pair.labels == tuple(NAMES)
    expected = head.predict_proba(vectors(folder, TEXTS))
    assert np.abs(chances(pair) - expected).max() < NEAR


def test_a_device_classifies_as_scikit_learn(base: Path, tmp_path: Path) -> None:
    folder = make_setfit(base, tmp_path / "tuned", None, labels=NAMES)
    classes = [i % 3 for i in range(len(TEXTS))]
    head = LogisticRegression(C=1000).fit(vectors(folder, TEXTS), classes)
    joblib.dump(head, folder / "model_head.pkl")
    bundle, options = tmp_path / "task.osd.safetensors", HeadOptions(values="fp32")
    export_task(base, folder, bundle, method="truncsvd", budget="r=64", head=options)
    export_base(base, tmp_path / "package")
    session = EdgeSession(tmp_path / "package", threads=1)
    session.activate(session.load(bundle))
    logits = session.run(session.encode(TEXTS)).logits
    assert logits is not None
    given = torch.from_numpy(logits).softmax(-1).numpy()
    expected = head.predict_proba(vectors(folder, TEXTS))
    assert np.abs(given - expected).max() < 1e-4
    labels = [answer.label for answer in session.classify(TEXTS)]
    assert labels == [NAMES[i] for i in head.predict(vectors(folder, TEXTS))]
    assert len(set(labels)) > 1


@pytest.mark.parametrize(
    ("head", "normalize", "settings", "words"),
    [
        ([0, 1], True, {}, "vectors of length 1"),
        ([0, 1], False, {"normalize_embeddings": True}, "vectors of length 1"),
        ([0, 5], False, {"labels": NAMES}, "names 3 labels"),
        (None, False, {}, "NoneType"),
    ],
)
def test_a_classifier_that_no_bundle_holds(
    base: Path, tmp_path: Path, head: Any, normalize: bool, settings: Any, words: str
) -> None:
    head = None if head is None else fitted(head)
    folder = make_setfit(base, tmp_path / "tuned", head, normalize=normalize, **settings)
    code, message = refusal(lambda: open_fine_tuned(base, folder))
    assert code == "model.head" and words in message and "--kind embedding" in message
    pair = open_fine_tuned(base, folder, kind="embedding")  # as the message says
    assert (pair.head.kind, pair.head.normalize) == ("embedding", normalize)


def test_classifiers_of_another_kind(base: Path, tmp_path: Path) -> None:
    chain = of_several(ClassifierChain)
    one_by_one = OneVsRestClassifier(LogisticRegression()).fit(
        random_vectors(), [i % 3 for i in range(60)]
    )
    never_fitted = LogisticRegression()
    older = fitted([0, 1, 2])
    older.multi_class = "ovr"
    for i, head in enumerate((chain, one_by_one, never_fitted, older)):
        folder = make_setfit(base, tmp_path / str(i), head)
        assert refusal(partial(open_fine_tuned, base, folder))[0] == "model.head"


def test_a_classifier_of_two_that_an_older_scikit_learn_fitted_by_softmax(
    base: Path, tmp_path: Path
) -> None:
    head = fitted([0, 1])
    head.multi_class = "multinomial"
    folder = make_setfit(base, tmp_path / "tuned", head)
    decisions = head.decision_function(vectors(folder, TEXTS))
    expected = 1 / (1 + np.exp(-2 * decisions))  # softmax of the decision with either sign
    assert np.abs(chances(open_fine_tuned(base, folder))[:, 1] - expected).max() < NEAR


def test_a_folder_without_its_classifier(base: Path, tmp_path: Path) -> None:
    folder = make_setfit(base, tmp_path / "tuned", fitted([0, 1]))
    (folder / "model_head.pkl").unlink()
    code, message = refusal(lambda: open_fine_tuned(base, folder))
    assert code == "model.head" and "model_head.pkl" in message


def test_settings_that_are_malformed(base: Path, tmp_path: Path) -> None:
    folder = make_setfit(base, tmp_path / "tuned", fitted([0, 1]))
    for labels in (5, "ab", [1]):
        edit(folder / "config_setfit.json", labels=labels)
        with pytest.raises(ModelError) as caught:
            open_fine_tuned(base, folder)
        assert caught.value.code == "model.head"
    (folder / "config_setfit.json").write_text(json.dumps([1]))
    assert refusal(lambda: open_fine_tuned(base, folder))[0] == "model.head"


# The pickle


class Hostile:
    """An object whose pickle writes a file when it is loaded by Python itself."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


@pytest.mark.parametrize("dump", [pickle.dump, joblib.dump])
def test_a_pickle_is_never_run(base: Path, tmp_path: Path, dump: Any) -> None:
    sign = tmp_path / "it ran"
    folder = make_setfit(base, tmp_path / "tuned", None)
    hostile = fitted([0, 1])
    hostile.classes_ = Hostile(sign)
    for head in (Hostile(sign), hostile):
        with (folder / "model_head.pkl").open("wb") as file:
            dump(head, file)
        assert refusal(lambda: open_fine_tuned(base, folder))[0] == "model.head"
        assert not sign.exists()
    joblib.load(folder / "model_head.pkl")
    assert sign.exists()  # which it would have been


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dump", [pickle.dump, joblib.dump])
def test_arrays_of_every_protocol(tmp_path: Path, dump: Any, protocol: int) -> None:
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    given: dict[str, Any] = {
        "rows": numbers,
        "columns": np.asfortranarray(numbers),
        "again": numbers,
        "texts": np.array(["a", "bc"]),
        "objects": np.array(["a", "bc"], dtype=object),
        "whole": np.arange(3, dtype=">i8"),
        "one": np.float64(2.5),
        "long": "x" * 300,
    }
    with (tmp_path / "file.pkl").open("wb") as file:
        dump(given, file, protocol=protocol)
    found = read_pickle(tmp_path / "file.pkl")
    assert list(found) == list(given)
    for name in ("rows", "columns", "again", "texts", "whole"):
        assert np.array_equal(found[name], given[name]) and found[name].dtype == given[name].dtype
    assert list(found["objects"]) == ["a", "bc"]
    assert (found["one"], found["long"]) == (2.5, given["long"])


def test_damaged_pickles_are_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    path, generator = tmp_path / "file.pkl", random.Random(5)
    joblib.dump(of_several(MultiOutputClassifier), path)
    whole = path.read_bytes()
    refused = 0
    for trial in range(600):
        data = bytearray(whole)
        if trial % 2:
            data = data[: generator.randrange(len(data))]
        for _ in range(generator.randrange(1, 4)):
            if data:
                data[generator.randrange(len(data))] = generator.randrange(256)
        path.write_bytes(data)
        try:
            read_pickle(path)
        except PickleError:
            refused += 1
    assert refused > 300  # all that were cut off


def test_a_mapping_by_what_takes_for_ever_to_hash(tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    program = b"\x80\x04)" + b"q\x00h\x00\x86" * 60 + b"}\x86\x80\x04."  # tuples of tuples
    path.write_bytes(program)
    read_pickle(path)
    path.write_bytes(b"\x80\x04}" + b")" + b"q\x00h\x00\x86" * 60 + b"Ns.")
    with pytest.raises(PickleError, match="a mapping by other things"):
        read_pickle(path)


@pytest.mark.parametrize("kind", ["token-labels", "spans", "multi-label", "regression"])
def test_its_classifier_is_of_no_other_kind(base: Path, tmp_path: Path, kind: str) -> None:
    folder = make_setfit(base, tmp_path / "tuned", fitted([0, 1]), labels=["no", "yes"])
    code, message = refusal(lambda: open_fine_tuned(base, folder, kind=kind))
    assert code == "model.head" and "leave --kind out" in message
    assert open_fine_tuned(base, folder, kind="labels").labels == ("no", "yes")
    assert open_fine_tuned(base, folder, kind="embedding").labels == ()


def test_a_comparison_has_no_place_for_it(base: Path, tmp_path: Path) -> None:
    folder = make_setfit(base, tmp_path / "tuned", fitted([0, 1]), labels=["no", "yes"])
    rows = tuple(Example(t, label) for t, label in zip(TEXTS, ["no", "yes"] * 3, strict=True))
    job = MethodComparison(base, folder, rows, rows, grid(["lora"], ["20KiB"]), probe=0)
    code, message = refusal(lambda: compare(job, tmp_path / "out"))
    assert code == "model.head" and "export task" in message
