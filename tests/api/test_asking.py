"""Tasks that write no text: vectors as OpenAI's client has them, and answers of all other kinds."""

import base64
import shlex
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai import APIStatusError, OpenAI
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from osd_edge import TaskText, read_bundle, write_bundle
from osd_edge.cli.api import how_to_ask
from osd_edge.exporters import export_base, export_task
from osd_edge.runtime import EdgeSession
from osd_edge.runtime.api.asking import Asking
from osd_edge.runtime.api.server import ApiServer, ApiSettings
from osd_edge.runtime.generation.scheduler import BatchLimits
from osd_edge.runtime.kinds import KINDS as DEVICE_KINDS
from tests.api.serving import (
    PATIENCE,
    ask,
    client_of,
    connect,
    eventually,
    refusal,
    request,
    running,
)
from tests.support import decoders
from tests.support.kinds import KINDS

TEXTS = ["the cat sat on the mat", "a dog ran", "a film of charm"]


@pytest.fixture(scope="module")
def server(encoder: EdgeSession) -> Iterator[ApiServer]:
    """Two texts at a time, so that three are asked in two parts."""
    with running(encoder, ApiSettings(batch=BatchLimits(rows=2))) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: ApiServer) -> Iterator[OpenAI]:
    with client_of(server) as one:
        yield one


def test_the_models_are_the_tasks_alone(client: OpenAI, encoder: EdgeSession) -> None:
    """An encoder's base answers nothing by itself."""
    kinds = {model.id: model.model_dump()["kind"] for model in client.models.list()}
    assert kinds == {name: encoder.kind(name) for name in encoder.tasks}
    assert {"labels", "multi-label", "token-labels", "spans", "embedding"} <= set(kinds.values())


def test_embeddings_are_the_session_s_vectors(client: OpenAI, encoder: EdgeSession) -> None:
    """OpenAI's client asks for base64 unless it is told otherwise."""
    expected = encoder.embed(TEXTS, task="embedding")
    for form in ({}, {"encoding_format": "float"}):
        given: dict[str, Any] = form
        found = client.embeddings.create(model="embedding", input=TEXTS, **given)
        assert [one.index for one in found.data] == [0, 1, 2]
        vectors = np.array([one.embedding for one in found.data])
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
    tokens = int(encoder.encode(TEXTS)["attention_mask"].sum())
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (tokens, tokens)
    one = client.embeddings.create(model="embedding", input=TEXTS[0], dimensions=len(expected[0]))
    np.testing.assert_allclose(one.data[0].embedding, expected[0], atol=1e-6)


def test_base64_is_of_float32(server: ApiServer, encoder: EdgeSession) -> None:
    body = {"model": "embedding", "input": "a dog", "encoding_format": "base64"}
    _, _, value = ask(server, "/v1/embeddings", body)
    found = np.frombuffer(base64.b64decode(value["data"][0]["embedding"]), "<f4")
    np.testing.assert_allclose(found, encoder.embed(["a dog"], task="embedding")[0], atol=1e-6)


@pytest.mark.parametrize("name", ["first", *KINDS, "embedding"])
def test_a_task_of_any_kind_answers_as_the_session_does(
    server: ApiServer, encoder: EdgeSession, name: str
) -> None:
    body: dict[str, Any] = {"model": name, "input": TEXTS}
    words: dict[str, Any] = {}
    if encoder.kind(name) == "spans":
        words = {"question": "who sat?"}
    status, _, value = ask(server, "/v1/ask", body | words)
    assert (status, value["kind"], value["model"]) == (200, encoder.kind(name), name)
    assert [one["index"] for one in value["data"]] == [0, 1, 2]
    kind = DEVICE_KINDS[encoder.kind(name)]
    answers = encoder.ask(TEXTS, task=name, **words)
    for one, text, answer in zip(value["data"], TEXTS, answers, strict=True):
        expected = kind.entries(text, answer)
        assert len(one["entries"]) == len(expected)
        for entry, own in zip(one["entries"], expected, strict=True):
            assert set(entry) == set(own) - {"text"}
            assert entry["label"] == own["label"]
            if own["score"] is not None:
                assert entry["score"] == pytest.approx(own["score"], abs=1e-5)


def test_pairs_of_texts_are_taken(server: ApiServer, encoder: EdgeSession) -> None:
    body = {"model": "first", "input": TEXTS, "pairs": TEXTS[::-1]}
    status, _, value = ask(server, "/v1/ask", body)
    expected = encoder.classify(TEXTS, TEXTS[::-1], task="first")
    assert status == 200
    for one, answer in zip(value["data"], expected, strict=True):
        assert one["entries"][0]["scores"] == pytest.approx(answer.scores, abs=1e-5)


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        ("embeddings", {"model": "first"}, (400, "task.kind")),
        ("embeddings", {"model": "none-such"}, (404, "api.model")),
        ("embeddings", {"input": [[1, 2]]}, (400, "api.field")),
        ("embeddings", {"input": []}, (400, "api.field")),
        ("embeddings", {"input": ["x"] * 257}, (400, "api.field")),
        ("embeddings", {"encoding_format": "hex"}, (400, "api.field")),
        ("embeddings", {"dimensions": 3}, (400, "api.field")),
        ("embeddings", {"truncate": True}, (400, "api.field")),
        ("ask", {"model": "spans"}, (400, "input.question")),
        ("ask", {"model": "first", "question": "who?"}, (400, "api.field")),
        ("ask", {"model": "first", "pairs": ["x", "y"]}, (400, "api.field")),
        ("ask", {"model": "embedding", "pairs": ["x"]}, (400, "input.texts")),
        ("ask", {"model": "first", "max_length": 0}, (400, "input.max-length")),
        ("ask", {"model": "first", "max_length": 1}, (400, "input.max-length")),
        ("ask", {"model": "first", "pairs": ["x"], "max_length": 2}, (400, "input.max-length")),
        ("ask", {"model": "embedding", "max_length": 1}, (400, "input.max-length")),
        ("ask", {"model": "first", "stream": True}, (400, "api.field")),
        ("completions", {"prompt": "x"}, (404, "api.route")),
    ],
)
def test_refusals(
    server: ApiServer, path: str, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    body = {"model": "embedding", "input": "a dog"} | fields
    assert refusal(ask(server, f"/v1/{path}", body)) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "spans"}, "question"),
        ({"model": "embedding", "pairs": ["x"]}, "pairs"),
        ({"model": "first", "max_length": 1}, "max_length"),
        ({"model": "first", "max_length": 10**6}, "max_length"),
        ({"model": "none-such"}, "model"),
    ],
)
def test_a_refusal_names_the_field_that_is_meant(
    server: ApiServer, fields: dict[str, Any], param: str
) -> None:
    _, _, value = ask(server, "/v1/ask", {"input": "a dog"} | fields)
    assert value["error"]["param"] == param


def test_the_command_that_is_shown_asks_the_last_model(
    server: ApiServer, encoder: EdgeSession
) -> None:
    words = shlex.split(how_to_ask(encoder, server, with_key=False))
    assert words[:2] == ["curl", f"{server.address}/embeddings"] and words[-2] == "-d"
    status, _, value = ask(server, "/v1/embeddings", words[-1].encode())
    assert (status, value["model"]) == (200, encoder.tasks[-1])


def test_a_task_that_writes_text_is_asked_elsewhere(writing: EdgeSession) -> None:
    with running(writing) as server:
        body = {"model": "task0", "input": "x"}
        assert refusal(ask(server, "/v1/ask", body)) == (400, "task.kind")
        assert refusal(ask(server, "/v1/ask", body | {"model": "package"})) == (400, "task.none")
        assert refusal(ask(server, "/v1/embeddings", body)) == (400, "task.kind")


def test_a_classifier_writes_no_text_over_a_base_that_does(
    encoder: EdgeSession, client: OpenAI
) -> None:
    """An encoder's server has no address for text at all."""
    with pytest.raises(APIStatusError) as refused:
        client.completions.create(model="first", prompt="x")
    assert refused.value.code == "api.route"


def test_one_server_of_a_decoder_answers_every_kind(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("decoder")
    base = decoders.make_decoder("llama", folder / "base")
    export_base(base, folder / "package", task="generate")
    decoders.make_tuned(base, folder / "writer", seed=2)
    classes = {
        "labels": AutoModelForSequenceClassification,
        "tags": AutoModelForTokenClassification,
    }
    for name, task in classes.items():
        decoders.make_tuned(base, folder / name, task, num_labels=3)
    session = EdgeSession(folder / "package", threads=1)
    for name in ("writer", *classes):
        bundle = folder / f"{name}.osd.safetensors"
        export_task(base, folder / name, bundle, method="truncsvd", budget="r=1")
        session.load(bundle)
    texts = ["the cat sat", "a dog"]
    with running(session) as server, client_of(server) as client:
        kinds = [model.model_dump()["kind"] for model in client.models.list()]
        assert kinds == ["generate", "generate", "labels", "token-labels"]
        for name in classes:
            _, _, value = ask(server, "/v1/ask", {"model": name, "input": texts})
            found = [[entry["label"] for entry in one["entries"]] for one in value["data"]]
            kind, answers = DEVICE_KINDS[session.kind(name)], session.ask(texts, task=name)
            assert found == [
                [entry["label"] for entry in kind.entries(text, answer)]
                for text, answer in zip(texts, answers, strict=True)
            ]
        for model, task in (("package", None), ("writer", "writer")):
            written = client.completions.create(model=model, prompt=texts, max_tokens=4)
            expected = session.generate(texts, task=task, max_tokens=4)
            assert [choice.text for choice in written.choices] == [x.text for x in expected]
        said = {"model": "writer", "messages": [{"role": "user", "content": "the"}]}
        assert refusal(ask(server, "/v1/chat/completions", said)) == (400, "base.chat")
        refused = {"model": "labels", "prompt": "the", "max_tokens": 4}
        assert refusal(ask(server, "/v1/completions", refused)) == (400, "task.kind")


def test_the_end_of_the_server_ends_what_is_asked(
    encoder: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, parts, found = EdgeSession.encode, [], []

    def slow(self: EdgeSession, texts: Any, **settings: Any) -> Any:
        parts.append(len(texts))
        time.sleep(0.1)
        return encode(self, texts, **settings)

    monkeypatch.setattr(EdgeSession, "encode", slow)
    body = {"model": "embedding", "input": ["a dog"] * 250}
    with running(encoder, ApiSettings(batch=BatchLimits(rows=1))) as server:
        asking = threading.Thread(
            target=lambda: found.append(refusal(ask(server, "/v1/embeddings", body)))
        )
        asking.start()
        assert eventually(lambda: parts)
    asking.join(PATIENCE)
    assert found == [(503, "api.stopped")] and len(parts) < 250


def test_requests_wait_for_one_another_and_too_many_are_refused(
    encoder: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was given up while it waits is not asked any more."""
    goes_on, parts = threading.Event(), []
    whole, asked = Asking._parts, set[Asking]()

    def held(self: Asking, count: int, end: threading.Event) -> Iterator[slice]:
        asked.add(self)
        parts.append(count)
        assert goes_on.wait(60)
        yield from whole(self, count, end)

    monkeypatch.setattr(Asking, "_parts", held)
    body = b'{"model": "embedding", "input": ["a", "b", "c"]}'
    with running(encoder, waiting=2) as server:
        first, second = connect(server), connect(server)
        with first, second:
            first.sendall(request(server, "/v1/embeddings", body))
            assert eventually(lambda: parts == [3])
            second.sendall(request(server, "/v1/embeddings", body))
            third = {"model": "embedding", "input": "x"}
            assert eventually(
                lambda: refusal(ask(server, "/v1/embeddings", third)) == (503, "api.busy")
            )
        (asking,) = asked
        assert eventually(lambda: asking._asked == 0)  # it has seen that both are gone
        goes_on.set()
        status, *_ = ask(server, "/v1/embeddings", third)
        assert status == 200 and parts == [3, 1]


def test_texts_are_cut_as_their_task_says(encoder: EdgeSession, tmp_path: Path) -> None:
    """By both addresses: at the task's length, behind its prompt."""
    long = " ".join(TEXTS * 20)
    for source in ("embedding", "first"):
        data = encoder._parts.tasks.resolve(source)
        assert data is not None
        text = TaskText(max_length=9, prompt="a bird ")
        bundle = replace(read_bundle(data.source), task=f"{source}-cut", text=text)
        file = tmp_path / f"{source}.osd.safetensors"
        file.write_bytes(write_bundle(bundle))
        encoder.load(file)
    try:
        with running(encoder) as server, client_of(server) as client:
            found = client.embeddings.create(model="embedding-cut", input=[long, "a dog"])
            _, _, value = ask(server, "/v1/ask", {"model": "first-cut", "input": [long]})
    finally:
        for source in ("embedding", "first"):
            encoder.unload(f"{source}-cut")
    given = [f"a bird {text}" for text in (long, "a dog")]
    inputs = encoder.encode(given, task="embedding", max_length=9)
    expected = encoder.run(inputs, task="embedding").logits
    assert expected is not None
    vectors = np.array([one.embedding for one in found.data])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert found.usage.prompt_tokens == int(inputs["attention_mask"].sum()) < 18
    (answer,) = encoder.classify(given[:1], task="first", max_length=9)
    assert value["data"][0]["entries"][0]["scores"] == pytest.approx(answer.scores)
