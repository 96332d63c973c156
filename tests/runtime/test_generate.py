"""EdgeSession.generate: answers are torch's, whatever stands beside them in the batch."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from osd_edge import OsdEdgeError, TaskError, read_bundle_file, write_bundle
from osd_edge.errors import InputError
from osd_edge.runtime import EdgeSession, GeneratedText, Piece
from osd_edge.runtime.generation import running_batch
from tests.support.writers import CHATML, CONTEXT, Writer

PROMPTS = ("the cat sat", "a dog ran under the bird, système 猫", "on", "x" * 40)
TASKS = (None, "task0", "task1", "task0")
_CLOSE = 1e-3  # of torch's two best logits: either may be the greater here


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def writer(request: pytest.FixtureRequest) -> Writer:
    made: Writer = request.getfixturevalue(request.param)
    return made


@pytest.fixture(scope="module")
def session(writer: Writer) -> EdgeSession:
    return opened(writer)


@pytest.fixture(scope="module")
def llama(tiny_llama: Writer) -> EdgeSession:
    return opened(tiny_llama)


def opened(writer: Writer) -> EdgeSession:
    session = EdgeSession(writer.package, threads=1)
    for path in writer.bundles:
        session.load(path)
    return session


def is_greedy(model: Any, answer: GeneratedText, prompt: Sequence[int]) -> bool:
    """Whether each token is torch's likeliest, or as likely as that but for rounding."""
    tokens = [*prompt, *answer.tokens]
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, len(prompt) - 1 : -1]
    own = logits[torch.arange(len(answer.tokens)), torch.tensor(answer.tokens)]
    return bool((logits.max(-1).values - own < _CLOSE).all())


@pytest.mark.parametrize("task", [None, 0, 1])
def test_the_likeliest_tokens_are_those_of_torch(
    writer: Writer, session: EdgeSession, task: int | None
) -> None:
    model, tokenizer = writer.torch(task), writer.tokenizer()
    name = None if task is None else f"task{task}"
    for prompt in PROMPTS:
        (answer,) = session.generate([prompt], task=name, max_tokens=40)
        ids = tokenizer(prompt).input_ids
        assert (answer.prompt_tokens, answer.task) == (len(ids), name)
        assert is_greedy(model, answer, ids)
        with torch.no_grad():
            whole = model.generate(torch.tensor([ids]), max_new_tokens=40, do_sample=False)
        expected = whole[0, len(ids) :].tolist()
        equal = [a == b for a, b in zip(answer.tokens, expected, strict=False)]
        # With these seeds no two logits are close before that many tokens.
        assert all(equal[:20])


def test_rows_of_a_batch_answer_as_each_does_alone(session: EdgeSession) -> None:
    together = session.generate(PROMPTS, tasks=TASKS, max_tokens=30)
    alone = [
        session.generate([prompt], task=task, max_tokens=30)[0]
        for prompt, task in zip(PROMPTS, TASKS, strict=True)
    ]
    assert [row.tokens for row in together] == [row.tokens for row in alone]
    assert [row.text for row in together] == [row.text for row in alone]
    assert len({row.tokens for row in together}) == len(PROMPTS)


def test_a_row_that_ends_early_leaves_the_others_as_they_were(session: EdgeSession) -> None:
    whole = session.generate(PROMPTS, tasks=TASKS, max_tokens=24)
    for ending in range(len(PROMPTS)):
        # A text that only this row comes to after some tokens, so that it leaves the batch.
        stop = [whole[ending].text[8:12]]
        rows = session.generate(PROMPTS, tasks=TASKS, max_tokens=24, stop=stop)
        assert rows[ending].ended == "stop"
        assert whole[ending].text.startswith(rows[ending].text)
        for row, other in zip(rows, whole, strict=True):
            assert row.tokens == other.tokens[: len(row.tokens)]
            assert row.ended == "stop" or row.tokens == other.tokens


def test_long_prompts_are_filled_in_by_parts(
    session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = session.generate(PROMPTS, tasks=TASKS, max_tokens=12)
    monkeypatch.setattr(running_batch, "AT_ONCE", 7)
    parts = session.generate(PROMPTS, tasks=TASKS, max_tokens=12)
    assert [row.tokens for row in parts] == [row.tokens for row in whole]


def test_keys_outgrow_their_buffer(session: EdgeSession) -> None:
    (short,) = session.generate(["the cat"], max_tokens=10)
    (long,) = session.generate(["the cat"], max_tokens=CONTEXT)
    assert long.tokens[:10] == short.tokens
    assert long.ended == "context" and long.prompt_tokens + len(long.tokens) == CONTEXT


def test_pieces_are_the_answers(session: EdgeSession) -> None:
    whole = session.generate(PROMPTS, tasks=TASKS, max_tokens=30, stop=["zz"])
    pieces = list(session.generate(PROMPTS, tasks=TASKS, max_tokens=30, stop=["zz"], stream=True))
    for number, answer in enumerate(whole):
        own = [piece for piece in pieces if piece.row == number]
        assert "".join(piece.text for piece in own) == answer.text
        assert [token for piece in own for token in piece.tokens] == list(answer.tokens)
        assert [piece.ended for piece in own] == [None] * (len(own) - 1) + [answer.ended]


def test_a_stop_token_ends_an_answer_and_is_not_of_it(
    tiny_llama: Writer, llama: EdgeSession, tmp_path: Path
) -> None:
    from tests.support.packages import copied
    from tests.support.writers import change_facts

    (answer,) = llama.generate(["the cat"], max_tokens=20, task=None)
    package = copied(tiny_llama.package, tmp_path / "package")
    change_facts(package, stop_ids=[answer.tokens[7]])
    (cut,) = EdgeSession(package).generate(["the cat"], max_tokens=20)
    at = answer.tokens.index(answer.tokens[7])
    assert cut.ended == "stop" and cut.tokens == answer.tokens[:at]


def test_why_an_answer_ended(llama: EdgeSession) -> None:
    (answer,) = llama.generate(["the cat"], max_tokens=6)
    assert (answer.ended, len(answer.tokens)) == ("length", 6)
    assert 0 < answer.seconds_to_first <= answer.seconds
    (cut,) = llama.generate(["x" * (CONTEXT - 3)], max_tokens=6)
    assert (cut.ended, cut.prompt_tokens + len(cut.tokens)) == ("context", CONTEXT)


def test_an_event_ends_answers_between_tokens(session: EdgeSession) -> None:
    whole = session.generate(PROMPTS[:2], max_tokens=30)
    event = threading.Event()
    pieces: list[Piece] = []
    for piece in session.generate(PROMPTS[:2], max_tokens=30, stream=True, cancel=event):
        pieces.append(piece)
        if len(pieces) == 10:
            event.set()
    assert {piece.row for piece in pieces if piece.ended == "cancelled"} == {0, 1}
    assert len(pieces) <= 14
    for row, answer in enumerate(whole):
        tokens = tuple(x for piece in pieces if piece.row == row for x in piece.tokens)
        assert 0 < len(tokens) < 30 and tokens == answer.tokens[: len(tokens)]


def test_a_function_ends_answers_before_the_first_token(session: EdgeSession) -> None:
    answers = session.generate(PROMPTS, cancel=lambda: True)
    assert [(row.ended, row.tokens, row.text) for row in answers] == [("cancelled", (), "")] * 4


def test_a_function_that_once_gave_true_is_not_asked_again(llama: EdgeSession) -> None:
    asked = iter([False, False, True])
    answers = llama.generate(PROMPTS, max_tokens=30, cancel=lambda: next(asked))
    assert {row.ended for row in answers} == {"cancelled"}


def test_an_answer_that_has_ended_is_not_cancelled_afterwards(llama: EdgeSession) -> None:
    asked = iter([False, True])  # before the short prompt is filled in, and before the long one
    prompts = ["on", "x" * 200]
    pieces = list(llama.generate(prompts, max_tokens=1, stream=True, cancel=lambda: next(asked)))
    assert [(piece.row, piece.ended) for piece in pieces] == [(0, "length"), (1, "cancelled")]


def test_a_seed_repeats_what_is_drawn_row_by_row(session: EdgeSession) -> None:
    words: dict[str, Any] = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 20}
    first = session.generate(PROMPTS[:2], seed=5, **words)
    assert [x.tokens for x in session.generate(PROMPTS[:2], seed=5, **words)] == [
        x.tokens for x in first
    ]
    assert session.generate(PROMPTS[:1], seed=5, **words)[0].tokens == first[0].tokens
    assert session.generate(["on", PROMPTS[1]], seed=5, **words)[1].tokens == first[1].tokens
    assert session.generate(PROMPTS[:1], seed=6, **words)[0].tokens != first[0].tokens
    same = session.generate([PROMPTS[0]] * 2, seed=5, **words)
    assert same[0].tokens != same[1].tokens


def test_a_bad_row_is_refused_and_the_others_answer(session: EdgeSession) -> None:
    good = session.generate(["the cat"], max_tokens=8)[0]
    prompts: list[Any] = [
        *("the cat", "", "x" * CONTEXT, [], [1, 10**6], [-1], [0.5], [True], 7, b"x", "\ud800"),
        *([{"role": "tool", "content": "x"}], [{"role": "user"}], {"role": "user"}, None),
    ]
    codes = "prompt context prompt prompt prompt prompt prompt prompt prompt prompt role messages"
    rows = session.generate(prompts, max_tokens=8)
    assert rows[0].tokens == good.tokens and rows[0].error is None
    found = [row.error.code for row in rows if row.error is not None]
    assert found == [f"input.{code}" for code in (*codes.split(), "prompt", "prompt")]
    assert {(row.ended, row.text, row.tokens) for row in rows[1:]} == {("refused", "", ())}
    pieces = list(session.generate(prompts, max_tokens=8, stream=True))
    assert [p.error.code for p in pieces if p.ended == "refused" and p.error] == found


def test_where_all_rows_are_refused_the_first_refusal_is_raised(session: EdgeSession) -> None:
    for stream in (False, True):
        with pytest.raises(InputError) as refused:
            list(session.generate(["x" * CONTEXT, ""], stream=stream))
        assert refused.value.code == "input.context"


def test_a_task_that_is_not_there_is_refused_for_its_row(session: EdgeSession) -> None:
    rows = session.generate(["on", "on"], tasks=["task0", "elsewhere"], max_tokens=4)
    assert rows[0].error is None and rows[1].error is not None
    assert (rows[1].error.code, rows[1].task) == ("task.unknown", "elsewhere")
    strange: Any = [None, ("task0", [])]
    rows = session.generate(["on", "on"], tasks=strange, max_tokens=4)
    assert rows[1].error is not None and rows[1].error.code == "task.unknown"
    with pytest.raises(TaskError) as refused:
        session.generate(["on"], task="elsewhere")
    assert refused.value.code == "task.unknown"


def test_logits_that_are_not_finite_are_refused_for_their_row(
    writer: Writer, tmp_path: Path
) -> None:
    session = opened(writer)
    bundle = read_bundle_file(writer.bundles[0])
    sites: list[Any] = list(bundle.sites)
    large = [replace(site, u=replace(site.u, values=site.u.values * 1e30)) for site in sites]
    path = tmp_path / "large.osd.safetensors"
    path.write_bytes(write_bundle(replace(bundle, task="large", sites=tuple(large))))
    session.load(path)
    rows = session.generate(["on", "the cat"], tasks=["large", "task1"], max_tokens=8)
    assert rows[0].error is not None
    assert (rows[0].ended, rows[0].error.code) == ("refused", "task.not-finite")
    assert rows[1].tokens == session.generate(["the cat"], task="task1", max_tokens=8)[0].tokens
    with pytest.raises(TaskError) as refused:
        list(session.generate(["on"], task="large", stream=True))
    assert refused.value.code == "task.not-finite"


def test_a_task_of_another_base_is_refused(tiny_llama: Writer, tiny_gpt2: Writer) -> None:
    session = EdgeSession(tiny_llama.package)
    with pytest.raises(OsdEdgeError) as refused:
        session.load(tiny_gpt2.bundles[0])
    assert refused.value.code == "bundle.base"


def test_a_task_of_another_kind_does_not_write(tiny_base: Path, tiny_bundles: Any) -> None:
    session = EdgeSession(tiny_base)
    session.activate(session.load(tiny_bundles[0]))
    with pytest.raises(OsdEdgeError) as refused:
        session.generate(["on"])
    assert refused.value.code == "base.generation"


def test_a_task_that_writes_gives_no_labels(llama: EdgeSession) -> None:
    with pytest.raises(TaskError, match="generate") as refused:
        llama.classify(["on"], task="task0")
    assert refused.value.code == "task.kind"
    (asked,) = llama.ask(["on"], task="task0")
    assert asked.tokens == llama.generate(["on"], task="task0")[0].tokens


def test_messages_have_the_tokens_that_transformers_gives_them(
    tiny_llama: Writer, llama: EdgeSession
) -> None:
    tokenizer = tiny_llama.tokenizer()
    messages = [
        {"role": "system", "content": "the mat"},
        {"role": "user", "content": "a dog <| 猫\n"},
        {"role": "assistant", "content": "über"},
        {"role": "user", "content": ""},
    ]
    ids = tokenizer.apply_chat_template(
        messages, chat_template=CHATML, add_generation_prompt=True, return_dict=False
    )
    by_messages, by_ids = llama.generate([messages, ids], max_tokens=8)
    assert by_messages.prompt_tokens == len(ids)
    assert by_messages.tokens == by_ids.tokens


def test_the_active_task_writes_unless_another_is_named(tiny_llama: Writer) -> None:
    session = opened(tiny_llama)
    assert session.generate(["on"], max_tokens=1)[0].task is None
    session.activate("task1")
    assert session.generate(["on"], max_tokens=1)[0].task == "task1"
    assert session.generate(["on"], task=None, max_tokens=1)[0].task is None


def test_prompts_of_ids_need_no_tokenizer(
    tiny_llama: Writer, llama: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = llama.generate([[5, 6, 7]], max_tokens=8, task=None)[0]
    session = EdgeSession(tiny_llama.package)
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    (answer,) = session.generate([[5, 6, 7]], max_tokens=8)
    assert (answer.tokens, answer.text) == (expected.tokens, "")
    for refused in ({"prompts": ["on"]}, {"prompts": [[5]], "stop": ["x"]}):
        with pytest.raises(InputError) as error:
            session.generate(**refused)
        assert error.value.code == "input.tokenizers"


def test_a_stream_goes_on_after_its_session_is_closed(tiny_llama: Writer) -> None:
    session = opened(tiny_llama)
    whole = session.generate(["the cat"], max_tokens=12)[0]
    stream = session.generate(["the cat"], max_tokens=12, stream=True)
    text = next(stream).text
    session.close()
    assert text + "".join(piece.text for piece in stream) == whole.text
    with pytest.raises(TaskError) as refused:
        session.generate(["the cat"])
    assert refused.value.code == "task.closed"


def test_many_threads_write_over_one_session(session: EdgeSession) -> None:
    expected = {
        (prompt, task): session.generate([prompt], task=task, max_tokens=20)[0].tokens
        for prompt in PROMPTS
        for task in (None, "task0", "task1")
    }
    wrong: list[object] = []

    def write(prompt: str, task: str | None) -> None:
        answer = session.generate([prompt], task=task, max_tokens=20)[0]
        if answer.tokens != expected[prompt, task]:
            wrong.append((prompt, task))

    threads = [threading.Thread(target=write, args=args) for args in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_hidden_states_are_the_same_wherever_padding_stands(session: EdgeSession) -> None:
    rows = [[5, 6, 7, 8], [9, 10]]
    alone = [session.run({"input_ids": np.array([row])}, task="task0").hidden[0] for row in rows]
    right = {"input_ids": [rows[0], [*rows[1], 0, 0]], "attention_mask": [[1] * 4, [1, 1, 0, 0]]}
    left = {"input_ids": [rows[0], [0, 0, *rows[1]]], "attention_mask": [[1] * 4, [0, 0, 1, 1]]}
    behind = session.run(right, task="task0").hidden
    before = session.run(left, tasks=["task0", "task0"]).hidden
    for of_row, hidden in ((behind[1, :2], alone[1]), (before[1, 2:], alone[1])):
        np.testing.assert_allclose(of_row, hidden, atol=1e-5)
    np.testing.assert_allclose(before[0], alone[0], atol=1e-5)


@pytest.mark.parametrize("mask", [[1, 0, 1], [0, 0, 0]])
def test_padding_between_tokens_is_refused(llama: EdgeSession, mask: list[int]) -> None:
    with pytest.raises(InputError, match="attention_mask") as refused:
        llama.run({"input_ids": [[5, 6, 7]], "attention_mask": [mask]})
    assert refused.value.code == "input.shape"


def test_rows_that_have_ended_are_not_cancelled(
    session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_batch, "AT_ONCE", 5)
    asked = iter([False, True])
    answers = session.generate(["on", "the cat sat"], max_tokens=1, cancel=lambda: next(asked))
    assert [(row.ended, len(row.tokens)) for row in answers] == [("length", 1), ("cancelled", 0)]


def test_each_row_is_cancelled_once(session: EdgeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_batch, "AT_ONCE", 3)
    asked = iter([False, True])
    prompts = [[4, 5, 6, 7, 8], [4, 5, 6, 7, 8, 9]]
    stream = session.generate(prompts, stream=True, cancel=lambda: next(asked))
    assert [(piece.row, piece.ended) for piece in stream] == [(0, "cancelled"), (1, "cancelled")]


def test_a_caller_s_exception_in_a_step_leaves_no_keys_that_were_not_made(
    session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = session.conversation(task="task0")
    stream = talk.say("the cat", stream=True, max_tokens=9)
    next(stream), next(stream)

    def late(*_: object) -> None:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr("osd_edge.runtime.open_base.Binding.run", late)
        patch.setattr("osd_edge.runtime.open_base.OpenBase.results", late)
        with pytest.raises(TimeoutError):
            next(stream)
    answer = talk.say("on", max_tokens=8)
    anew = session.generate([talk.messages[:-1]], task="task0", max_tokens=8)[0]
    assert answer.tokens == anew.tokens


def test_logits_of_another_shape_than_the_manifest_s_are_refused(
    tiny_gpt2: Writer, tmp_path: Path
) -> None:
    from tests.support.packages import copied
    from tests.support.writers import change_facts

    package = copied(tiny_gpt2.package, tmp_path / "package")
    change_facts(package, vocabulary=200)
    with pytest.raises(OsdEdgeError) as refused:
        EdgeSession(package).generate([[3, 4]], max_tokens=3)
    assert refused.value.code == "base.graph"


def test_a_run_of_a_task_that_writes_gives_hidden_states_and_no_logits(
    session: EdgeSession,
) -> None:
    ids = np.array([[4, 5, 6], [4, 5, 6]])
    alone, mixed = (
        session.run({"input_ids": ids}, task="task0"),
        session.run({"input_ids": ids}, tasks=["task0", None]),
    )
    assert alone.task == "task0" and alone.logits is None and mixed.logits == [None, None]
    np.testing.assert_allclose(mixed.hidden[0], alone.hidden[0], atol=1e-5)
    assert np.abs(mixed.hidden[1] - alone.hidden[1]).max() > 1e-3


def test_messages_that_are_in_no_list_of_prompts_are_told_so(session: EdgeSession) -> None:
    with pytest.raises(InputError, match="put them into a list") as refused:
        session.generate([{"role": "user", "content": "on"}])  # type: ignore[list-item]
    assert refused.value.code == "input.prompt"
