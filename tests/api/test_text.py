"""OpenAI's client asks for text: what it gets is what `EdgeSession.generate` gives."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI

from osd_edge.runtime import EdgeSession
from osd_edge.runtime.api.server import ApiServer
from osd_edge.runtime.generation.prompts import PromptEncoder
from osd_edge.runtime.generation.running_batch import Pieces, RunningBatch
from osd_edge.runtime.generation.scheduler import Scheduler
from tests.api.serving import PATIENCE, ask, refusal
from tests.support.writers import CONTEXT

PROMPTS = ("the cat sat", "a dog ran under the bird, système 猫", "on", "x" * 40)
MODELS = {"package": None, "task0": "task0", "task1": "task1"}
HELLO: Any = [{"role": "user", "content": "the cat"}]


def refused_as(client: OpenAI, **fields: Any) -> tuple[int, str, str | None]:
    with pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(**({"model": "task0", "messages": HELLO} | fields))
    body: Any = refused.value.body
    return refused.value.status_code, body["code"], body["param"]


def test_the_models_are_the_base_and_its_tasks(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == list(MODELS)
    assert client.models.retrieve("task1").model_dump()["kind"] == "generate"
    with pytest.raises(APIStatusError) as refused:
        client.models.retrieve("gpt-4")
    assert refused.value.status_code == 404 and refused.value.code == "api.model"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_completion_is_the_session_s_answer(
    client: OpenAI, writing: EdgeSession, model: str, prompt: str
) -> None:
    found = client.completions.create(model=model, prompt=prompt, max_tokens=20)
    (expected,) = writing.generate([prompt], task=MODELS[model], max_tokens=20)
    (choice,) = found.choices
    assert (choice.text, choice.finish_reason) == (expected.text, expected.ended)
    assert (found.model, found.object, found.usage is not None) == (model, "text_completion", True)
    assert found.usage is not None
    counted = expected.prompt_tokens, len(expected.tokens)
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == counted
    assert found.usage.total_tokens == sum(counted)


def test_a_chat_is_the_session_s_answer_to_messages(client: OpenAI, writing: EdgeSession) -> None:
    messages: Any = [
        {"role": "system", "content": "on the mat"},
        {"role": "user", "content": "a dog"},
        {"role": "assistant", "content": "ran"},
        {"role": "user", "content": "under"},
    ]
    found = client.chat.completions.create(model="task1", messages=messages, max_tokens=9)
    (expected,) = writing.generate([messages], task="task1", max_tokens=9)
    (choice,) = found.choices
    assert (choice.message.role, choice.message.content) == ("assistant", expected.text)
    assert choice.finish_reason == expected.ended
    assert found.object == "chat.completion" and found.id.startswith("chatcmpl-")


def test_content_in_parts_and_a_developer_s_message_are_taken(client: OpenAI) -> None:
    whole: Any = [
        {"role": "system", "content": "on the mat"},
        {"role": "user", "content": "a dog ran"},
    ]
    parts: Any = [
        {"role": "developer", "content": "on the mat"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a dog"}, {"type": "text", "text": " ran"}],
        },
    ]
    one, other = (
        client.chat.completions.create(model="task0", messages=given, max_completion_tokens=6)
        for given in (whole, parts)
    )
    assert one.choices[0].message.content == other.choices[0].message.content
    assert one.usage == other.usage


def test_prompts_may_be_several_or_token_ids(client: OpenAI, writing: EdgeSession) -> None:
    found = client.completions.create(model="task0", prompt=list(PROMPTS), max_tokens=8)
    expected = writing.generate(PROMPTS, task="task0", max_tokens=8)
    assert [choice.text for choice in found.choices] == [answer.text for answer in expected]
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    ids = [[5, 6, 7], [8]]
    (one,) = client.completions.create(model="task0", prompt=ids[0], max_tokens=8).choices
    both = client.completions.create(model="task0", prompt=ids, max_tokens=8).choices
    assert [choice.text for choice in both] == [
        answer.text for answer in writing.generate(ids, task="task0", max_tokens=8)
    ]
    assert one.text == both[0].text


def test_the_words_of_sampling_are_the_session_s(client: OpenAI, writing: EdgeSession) -> None:
    words: dict[str, Any] = {"temperature": 0.8, "top_p": 0.9, "seed": 11, "max_tokens": 12}
    more: dict[str, Any] = {"top_k": 40, "min_p": 0.01, "repetition_penalty": 1.1}
    found = client.completions.create(model="task1", prompt="the cat", **words, extra_body=more)
    (expected,) = writing.generate(["the cat"], task="task1", **words, **more)
    assert found.choices[0].text == expected.text
    several = client.completions.create(model="task1", prompt=["the cat", "on"], n=2, **words)
    rows = writing.generate(["the cat", "the cat", "on", "on"], task="task1", **words)
    assert [choice.text for choice in several.choices] == [row.text for row in rows]
    assert len({choice.text for choice in several.choices}) == 4
    assert several.usage is not None
    assert several.usage.prompt_tokens == rows[0].prompt_tokens + rows[2].prompt_tokens


def test_a_prompt_of_several_answers_is_tokenized_once(
    client: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, tokenized = PromptEncoder.tokens, []

    def counted(self: PromptEncoder, prompt: object) -> list[int]:
        tokenized.append(prompt)
        return tokens(self, prompt)

    monkeypatch.setattr(PromptEncoder, "tokens", counted)
    found = client.completions.create(model="task1", prompt=["the cat", "on"], n=3, max_tokens=2)
    assert len(found.choices) == 6 and tokenized == ["the cat", "on"]


def test_a_stop_text_ends_an_answer(client: OpenAI, writing: EdgeSession) -> None:
    (whole,) = writing.generate(["the cat sat"], task="task0", max_tokens=24)
    stop = whole.text[8:12]
    for given in (stop, [stop, "never"]):
        found = client.completions.create(
            model="task0", prompt="the cat sat", max_tokens=24, stop=given
        )
        assert found.choices[0].finish_reason == "stop"
        assert found.choices[0].text == whole.text[: whole.text.find(stop)]


def test_the_context_ends_an_answer_as_a_length_does(client: OpenAI) -> None:
    found = client.completions.create(model="package", prompt="the cat", max_tokens=10**6)
    assert found.usage is not None
    assert found.choices[0].finish_reason in ("length", "stop")
    assert found.usage.total_tokens == CONTEXT or found.choices[0].finish_reason == "stop"


def test_a_stream_is_the_answer_in_whole_characters(client: OpenAI, writing: EdgeSession) -> None:
    """The tokens of this base are bytes: a character of several must not come in parts."""
    broken = 0
    for seed in range(4):
        words: dict[str, Any] = {"temperature": 1.5, "seed": seed, "max_tokens": 40}
        stream = client.completions.create(model="task0", prompt="猫 が", stream=True, **words)
        texts = [choice.text for chunk in stream for choice in chunk.choices]
        (expected,) = writing.generate(["猫 が"], task="task0", **words)
        assert "".join(texts) == expected.text
        broken += any(ord(character) > 127 for character in expected.text)
    assert broken  # some had characters of several tokens


def test_a_chat_s_stream_has_the_form_of_openai_s(client: OpenAI, writing: EdgeSession) -> None:
    stream = client.chat.completions.create(
        model="task0",
        messages=HELLO,
        max_tokens=7,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(stream)
    (expected,) = writing.generate([HELLO], task="task0", max_tokens=7)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in [*chunks, last]}) == 1
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant" and deltas[1].role is None
    assert "".join(delta.content or "" for delta in deltas) == expected.text
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["length"]
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == [] and last.usage is not None
    assert last.usage.completion_tokens == len(expected.tokens)


def test_several_answers_stream_side_by_side(client: OpenAI, writing: EdgeSession) -> None:
    texts = dict.fromkeys(range(4), "")
    stream = client.completions.create(
        model="task1", prompt=list(PROMPTS), max_tokens=10, stream=True
    )
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    expected = writing.generate(PROMPTS, task="task1", max_tokens=10)
    assert list(texts.values()) == [answer.text for answer in expected]


def test_requests_of_different_tasks_share_batches(
    server: ApiServer, writing: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight of three models, each of which comes with a token of those before it."""
    asked = [
        (model, prompt, most)
        for (model, prompt), most in zip(
            [(m, p) for p in PROMPTS for m in MODELS][:8],
            (40, 25, 31, 50, 18, 44, 29, 36),
            strict=True,
        )
    ]
    alone = [
        writing.generate([prompt], task=MODELS[model], max_tokens=most)[0]
        for model, prompt, most in asked
    ]
    scheduler = server.scheduler
    assert scheduler is not None
    steps, fills = scheduler.steps, scheduler.fills
    there = threading.Semaphore(0)  # requests that no step has waited for yet
    step, add = RunningBatch.step, Scheduler.add

    def adds(self: Scheduler, *given: Any) -> None:
        add(self, *given)
        there.release()

    def steps_with_the_next(batch: RunningBatch) -> Pieces:
        made = scheduler.steps - steps
        assert made > len(asked) or there.acquire(timeout=PATIENCE)
        return step(batch)

    monkeypatch.setattr(Scheduler, "add", adds)
    monkeypatch.setattr(RunningBatch, "step", steps_with_the_next)

    async def one(client: AsyncOpenAI, number: int) -> tuple[str, int]:
        model, prompt, most = asked[number]
        while scheduler.steps - steps < number:
            await asyncio.sleep(0.002)
        words: Any = {"model": model, "prompt": prompt, "max_tokens": most}
        if number % 2:
            whole = await client.completions.create(**words)
            assert whole.usage is not None
            return whole.choices[0].text, whole.usage.completion_tokens
        words |= {"stream": True, "stream_options": {"include_usage": True}}
        *chunks, last = [chunk async for chunk in await client.completions.create(**words)]
        return "".join(chunk.choices[0].text for chunk in chunks), last.usage.completion_tokens

    async def all_of_them() -> list[tuple[str, int]]:
        async with AsyncOpenAI(
            base_url=server.address, api_key="any", max_retries=0, timeout=PATIENCE
        ) as client:
            return await asyncio.gather(*(one(client, number) for number in range(len(asked))))

    expected = [(answer.text, len(answer.tokens)) for answer in alone]
    assert asyncio.run(all_of_them()) == expected
    longest = max(len(answer.tokens) for answer in alone)
    # By themselves they would take as many as all tokens but each one's first.
    assert sum(len(answer.tokens) - 1 for answer in alone) > 3 * (longest + len(asked))
    assert longest - 1 <= scheduler.steps - steps <= longest + len(asked)
    assert 2 <= scheduler.fills - fills <= len(asked)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 0),
        ("n", 17),
        ("n", True),
        ("stream", "yes"),
        ("logprobs", True),
        ("top_logprobs", 2),
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("logit_bias", {"5": 1}),
        ("frequency_penalty", 0.5),
        ("presence_penalty", True),
        ("stream_options", {"include_usage": 1}),
        ("max_tokens", 5),
        ("no_such_field", 1),
        ("messages", "the cat"),
        ("messages", []),
        ("messages", ["the cat"]),
        ("messages", [{"role": "user", "content": [{"type": "image_url"}]}]),
        ("messages", [{"role": "user", "content": "x", "tool_calls": [1]}]),
        ("model", None),
        ("model", 3),
    ],
)
def test_what_is_not_supported_is_refused_in_words(
    server: ApiServer, field: str, value: object
) -> None:
    body = {"model": "task0", "messages": HELLO, "max_completion_tokens": 4} | {field: value}
    answer = ask(server, "/v1/chat/completions", body)
    error = answer[2]["error"]
    assert refusal(answer) == (400, "api.field")
    assert error["type"] == "invalid_request_error"
    known = error["param"] in (field, "role", "content", "tool_calls", "include_usage")
    assert known and error["message"].startswith(error["param"])


def test_neutral_values_are_taken(client: OpenAI, writing: EdgeSession) -> None:
    neutral: dict[str, Any] = {
        **{"n": 1, "logprobs": False, "tools": [], "tool_choice": "none", "logit_bias": {}},
        **{"frequency_penalty": 0, "presence_penalty": 0.0, "response_format": {"type": "text"}},
        **{"user": "someone", "metadata": {"a": "b"}, "store": False, "stop": None, "seed": None},
    }
    found = client.chat.completions.create(model="task0", messages=HELLO, max_tokens=4, **neutral)
    (expected,) = writing.generate([HELLO], task="task0", max_tokens=4)
    assert found.choices[0].message.content == expected.text


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "gpt-4"}, (404, "api.model", "model")),
        ({"temperature": -1}, (400, "input.number", "temperature")),
        ({"top_p": "much"}, (400, "input.number", "top_p")),
        ({"max_tokens": 0}, (400, "input.number", "max_tokens")),
        ({"seed": -1}, (400, "input.number", "seed")),
        ({"stop": [1]}, (400, "input.texts", "stop")),
        ({"stop": ""}, (400, "input.texts", "stop")),
        ({"stop": [str(i) for i in range(17)]}, (400, "api.field", "stop")),
        ({"messages": [{"role": "robot", "content": "x"}]}, (400, "input.role", None)),
        ({"messages": [{"role": "user", "content": 3}]}, (400, "input.messages", None)),
        ({"messages": [{"role": "user", "content": "x" * 300}]}, (400, "input.context", None)),
    ],
)
def test_refusals_have_openai_s_form_and_our_code(
    client: OpenAI, fields: Any, expected: tuple[int, str, str | None]
) -> None:
    for stream in (False, True):  # a stream that is refused has a status, too
        assert refused_as(client, stream=stream, **fields) == expected


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("", "input.prompt"),
        ([], "api.field"),
        ([10**6], "input.prompt"),
        ([[1], "x", 3], "input.prompt"),
        (7, "api.field"),
        (HELLO, "api.field"),
        ([HELLO], "api.field"),
        (["x"] * 257, "api.field"),
    ],
)
def test_prompts_that_are_none_are_refused(server: ApiServer, prompt: object, code: str) -> None:
    answer = ask(server, "/v1/completions", {"model": "task0", "prompt": prompt})
    assert refusal(answer) == (400, code)


def test_one_refused_prompt_refuses_its_request(server: ApiServer) -> None:
    body = {"model": "task0", "prompt": ["the cat", "x" * 300]}
    assert refusal(ask(server, "/v1/completions", body)) == (400, "input.context")


@pytest.fixture
def busy(server: ApiServer, client: OpenAI) -> Iterator[None]:
    """Two clients ask for as many answers at once as the server writes."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            client.completions.create(model="package", prompt=["the cat"] * 8, max_tokens=30)

    threads = [threading.Thread(target=go_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    ended.set()
    for thread in threads:
        thread.join(PATIENCE)


def test_more_than_a_batch_wait_for_their_turn(busy: None, client: OpenAI) -> None:
    found = client.completions.create(model="task0", prompt=["the cat"] * 20, max_tokens=3)
    assert len({choice.text for choice in found.choices}) == 1
