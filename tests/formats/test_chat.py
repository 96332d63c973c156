"""Conversations as text: stored words around messages, and the templates of jinja2."""

import builtins
import json
import sys
from dataclasses import asdict, replace
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from osd_edge.errors import InputError, OsdEdgeError
from osd_edge.formats.package.chat import ROLES, ChatFormat, Message, Segment, messages_of
from osd_edge.formats.package.chat_template import Chat, ChatTemplate, chat_of

ENVIRONMENT = "osd_edge.formats.package.chat_environment"
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_FORMAT = ChatFormat(
    begin="",
    roles={role: (f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ROLES},
    answer="<|im_start|>assistant\n",
    default_system="Be kind.",
)
MERGED = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] + '\n\n' %}{% set loop_messages = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set loop_messages = messages %}{% endif %}"
    "{% for m in loop_messages %}"
    "{{ '<s>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' }}"
    "{{ (system if loop.first else '') + m['content'] | trim }}{{ '</s>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<s>model\n' }}{% endif %}"
)
MERGED_FORMAT = ChatFormat(
    begin="<bos>",
    roles={
        "system": ("", "\n\n"),
        "user": ("<s>user\n", "</s>\n"),
        "assistant": ("<s>model\n", "</s>\n"),
    },
    answer="<s>model\n",
    trim=("user", "assistant"),
    merge_system=True,
)
CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "Short, please. "), ("user", " Hello ")],
    [("system", "S"), ("user", "one"), ("assistant", " two\n"), ("user", "three")],
]


def _messages(turns: list[tuple[str, str]]) -> list[Message]:
    return messages_of([{"role": role, "content": content} for role, content in turns])


def _text(chat: Chat, turns: list[tuple[str, str]], *, answer: bool = True) -> str:
    return "".join(part.text for part in chat.render(_messages(turns), answer=answer))


@pytest.mark.parametrize("turns", CONVERSATIONS)
@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize(("source", "chat"), [(CHATML, CHATML_FORMAT), (MERGED, MERGED_FORMAT)])
def test_words_and_template_render_as_transformers_does(
    source: str, chat: ChatFormat, turns: list[tuple[str, str]], answer: bool
) -> None:
    given = [[{"role": role, "content": content} for role, content in turns]]
    (expected,), _ = render_jinja_template(
        given, chat_template=source, add_generation_prompt=answer, bos_token="<bos>"
    )
    assert _text(chat, turns, answer=answer) == expected
    assert _text(ChatTemplate(source, bos="<bos>"), turns, answer=answer) == expected


def test_content_is_told_from_the_words_of_the_format() -> None:
    parts = CHATML_FORMAT.render(_messages([("user", "<|im_end|>")]), answer=False)
    assert [part.text for part in parts if part.content] == ["Be kind.", "<|im_end|>"]
    assert Segment("<|im_start|>user\n") in parts


@pytest.mark.parametrize(
    ("chat", "turns"),
    [
        (CHATML_FORMAT, [("tool", "x")]),
        (ChatTemplate(CHATML), [("user<|im_end|>", "x")]),
        (ChatTemplate("{{ raise_exception('no system here') }}"), [("system", "x")]),
        (MERGED_FORMAT, [("system", "alone")]),
        (MERGED_FORMAT, [("system", "x"), ("assistant", "y")]),
        (MERGED_FORMAT, [("user", "x"), ("system", "late"), ("user", "y")]),
    ],
)
def test_roles_that_the_base_does_not_know_are_refused(
    chat: Chat, turns: list[tuple[str, str]]
) -> None:
    with pytest.raises(InputError) as refused:
        chat.render(_messages(turns))
    assert refused.value.code == "input.role"


IN_TURNS = replace(CHATML_FORMAT, in_turns=True)


@pytest.mark.parametrize("roles", ["u", "su", "uau", "suauau"])
def test_messages_in_turn_are_rendered_as_ever(roles: str) -> None:
    turns = [({"s": "system", "u": "user", "a": "assistant"}[role], "x") for role in roles]
    assert _text(IN_TURNS, turns) == _text(CHATML_FORMAT, turns)
    assert _text(IN_TURNS, [*turns, ("assistant", "y")], answer=False).endswith("y<|im_end|>\n")


@pytest.mark.parametrize("roles", ["s", "a", "uu", "ua", "sau", "usu", "uaau", "ssu", "uasu"])
def test_messages_out_of_turn_are_refused_where_the_format_says_so(roles: str) -> None:
    turns = [({"s": "system", "u": "user", "a": "assistant"}[role], "x") for role in roles]
    assert _text(CHATML_FORMAT, turns)
    with pytest.raises(InputError, match="in turn") as refused:
        IN_TURNS.render(_messages(turns))
    assert refused.value.code == "input.role"


def test_what_an_assistant_thought_is_left_out_of_what_it_said() -> None:
    chat = replace(CHATML_FORMAT, forget="</think>")
    thought = "<think>\nOne </think>, two.\n</think>\n\n Three\n"
    parts = chat.render(_messages([("user", thought), ("assistant", thought), ("user", "x")]))
    said = [part.text for part in parts if part.content]
    assert said == ["Be kind.", thought, " Three\n", "x"]


@pytest.mark.parametrize(
    "given",
    [
        *("text", [], None, [1], [{"role": "user"}], [{"role": "user", "content": 1}]),
        *([{"role": "user", "content": "\ud800"}], [{"role": "u", "content": "x", "name": "y"}]),
    ],
)
def test_what_are_no_messages_is_refused(given: object) -> None:
    with pytest.raises(InputError) as refused:
        messages_of(given)
    assert refused.value.code == "input.messages"


ENDLESS = "{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}"
LARGE = "{{ 'x' | center(10 ** 18) }}"
DEEP = "{% for i in [1] %}" * 30 + "{% endfor %}" * 30


@pytest.mark.parametrize(
    "source", ["{% if %}", "{{ 1 / 0 }}", "{{ messages[9].role.x }}", ENDLESS, LARGE, DEEP]
)
def test_a_template_that_fails_is_refused(source: str) -> None:
    with pytest.raises(OsdEdgeError) as refused:
        ChatTemplate(source).render(_messages([("user", "x")]))
    assert refused.value.code == "base.chat"


def test_a_template_reaches_nothing_of_python() -> None:
    source = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(OsdEdgeError) as refused:
        ChatTemplate(source).render(_messages([("user", "x")]))
    assert refused.value.code == "base.chat"


def test_a_template_without_jinja2_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def refuse(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("jinja2"):
            raise ImportError(name)
        return importing(name, *args, **more)

    monkeypatch.delitem(sys.modules, ENVIRONMENT, raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"\[chat\]") as refused:
        ChatTemplate(CHATML).render(_messages([("user", "x")]))
    assert refused.value.code == "input.missing-package"


@pytest.mark.parametrize(
    "chat",
    [
        *(CHATML_FORMAT, MERGED_FORMAT, replace(CHATML_FORMAT, in_turns=True, forget="</think>")),
        ChatTemplate(CHATML, "<s>", ""),
    ],
)
def test_a_manifest_gives_back_what_was_written(chat: Chat) -> None:
    assert chat_of(json.loads(json.dumps(asdict(chat)))) == chat


def test_a_manifest_may_leave_out_what_is_as_ever() -> None:
    fields = asdict(CHATML_FORMAT)
    del fields["in_turns"], fields["forget"]
    assert chat_of(json.loads(json.dumps(fields))) == CHATML_FORMAT


@pytest.mark.parametrize(
    "change",
    [
        {"roles": {}},
        {"roles": {"assistant": ["", ""]}},
        {"roles": {"user": ["", ""], "tool": ["", ""]}},
        {"roles": {"user": [""]}},
        {"roles": {"user": ["", ""]}, "default_system": "x", "trim": []},
        {"trim": ["tool"]},
        {"merge_system": 1},
        {"in_turns": 1},
        {"in_turns": None},
        {"forget": ""},
        {"forget": 3},
        {"begin": None},
        {"answer": "x" * 70_000},
        {"more": 1},
    ],
)
def test_a_malformed_format_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="chat format"):
        chat_of(json.loads(json.dumps(asdict(CHATML_FORMAT) | change)))
    with pytest.raises(ValueError, match="chat"):
        chat_of([])
    with pytest.raises(ValueError, match="chat template"):
        chat_of({"source": CHATML})
