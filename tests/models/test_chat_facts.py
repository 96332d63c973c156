"""Forms of conversations, from templates as they are in the wild, against transformers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from osd_edge.errors import InputError, ModelError
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.chat_facts import chat_facts
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.generation_facts import generation_facts
from osd_edge.exporters.models.tokenizer import load_tokenizer
from osd_edge.formats.package.chat import ChatFormat, Message, messages_of
from osd_edge.formats.package.chat_template import Chat, ChatTemplate
from tests.support.chat_templates import TEMPLATES, chat_tokenizer
from tests.support.language_models import make_language_model

HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"
# Styles whose template is more than words around messages, with the reason.
NOT_STORED = {
    "llama-3-dated",  # the date
    "mistral-system-last",  # the system message goes to the last user's, which changes
    "phi-3",  # an empty system message is left out
}
# Where the template takes messages out of turn, if others than in turn are the same.
ANY_ORDER = {"chatml", "chatml-without-default", "zephyr", "plain"}
CONVERSATIONS = [
    [("user", "Who?")],
    [("user", "Who?"), ("assistant", "You, <b>me</b>."), ("user", " Why? ")],
    [("user", "a"), ("assistant", "\nb\n"), ("user", "c"), ("assistant", ""), ("user", "d 🙂")],
]
WITH_SYSTEM = [[("system", " Be brief.\n"), *turns] for turns in CONVERSATIONS]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_language_model("gpt2", tmp_path_factory.mktemp("models") / "gpt2")


def model_of(language_model: Path, folder: Path) -> Path:
    """A copy of a language model, without a tokenizer."""
    folder.mkdir()
    for file in language_model.iterdir():
        os.link(file, folder / file.name)
    return folder


def facts_of(tokenizer: Any, folder: Path) -> Chat | None:
    checkpoint = Checkpoint(folder)
    return chat_facts(checkpoint, tokenizer)


def expected(tokenizer: Any, turns: list[tuple[str, str]]) -> str | None:
    given = [{"role": role, "content": content} for role, content in turns]
    try:
        text: str = tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=True)
    except Exception:  # of a template's own
        return None
    return text


def rendered(chat: Chat, turns: list[tuple[str, str]]) -> str | None:
    messages = messages_of([{"role": role, "content": content} for role, content in turns])
    try:
        return "".join(part.text for part in chat.render(messages))
    except InputError as refusal:
        assert refusal.code == "input.role"
        return None


@pytest.mark.parametrize("style", TEMPLATES)
def test_a_style_is_stored_as_words_unless_it_is_more(style: str, language_model: Path) -> None:
    tokenizer = chat_tokenizer(style)
    chat = facts_of(tokenizer, language_model)
    assert isinstance(chat, ChatTemplate if style in NOT_STORED else ChatFormat)
    if isinstance(chat, ChatFormat):
        assert chat.in_turns == (style not in ANY_ORDER)
    for turns in (*CONVERSATIONS, *WITH_SYSTEM):
        assert rendered(chat, turns) == expected(tokenizer, turns)


@pytest.mark.parametrize("style", TEMPLATES)
def test_its_tokens_are_those_of_transformers(style: str, language_model: Path) -> None:
    tokenizer = chat_tokenizer(style)
    chat = facts_of(tokenizer, language_model)
    assert chat is not None
    given = [{"role": role, "content": content} for role, content in CONVERSATIONS[1]]
    text = rendered(chat, CONVERSATIONS[1])
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert ids == tokenizer.apply_chat_template(
        given, add_generation_prompt=True, return_dict=False
    )


def test_words_are_those_that_a_person_would_write(language_model: Path) -> None:
    chatml = facts_of(chat_tokenizer("chatml"), language_model)
    assert chatml == ChatFormat(
        begin="",
        roles={
            role: (f"<|im_start|>{role}\n", "<|im_end|>\n")
            for role in ("system", "user", "assistant")
        },
        answer="<|im_start|>assistant\n",
        default_system="You are helpful.",
    )
    gemma = facts_of(chat_tokenizer("gemma"), language_model)
    assert gemma == ChatFormat(
        begin="<bos>",
        roles={
            "system": ("", "\n\n"),
            "user": ("<start_of_turn>user\n", "<end_of_turn>\n"),
            "assistant": ("<start_of_turn>model\n", "<end_of_turn>\n"),
        },
        answer="<start_of_turn>model\n",
        trim=("user", "assistant"),
        merge_system=True,
        in_turns=True,
    )
    llama = facts_of(chat_tokenizer("llama-3"), language_model)
    assert isinstance(llama, ChatFormat)
    assert llama.roles["user"] == (HEADER.format("user"), "<|eot_id|>")
    assert (llama.default_system, llama.answer) == ("", HEADER.format("assistant"))
    assert "26 Jul 2024" in llama.roles["system"][0]
    mistral = facts_of(chat_tokenizer("mistral"), language_model)
    assert isinstance(mistral, ChatFormat)
    assert mistral.roles == {"user": ("[INST] ", " [/INST]"), "assistant": ("", "</s> ")}


def test_a_thought_is_forgotten_where_the_template_forgets_it(language_model: Path) -> None:
    tokenizer = chat_tokenizer("qwen3")
    chat = facts_of(tokenizer, language_model)
    assert isinstance(chat, ChatFormat) and chat.forget == "</think>"
    thought = "<think>\nShould I?\n</think>\n\nYes."
    turns = [("user", "Will you?"), ("assistant", thought), ("user", thought)]
    text = rendered(chat, turns)
    assert text == expected(tokenizer, turns)
    assert text is not None and text.count("Should I?") == 1
    # The template shows a last answer's thought, and an assistant's last message asks no answer.
    assert rendered(chat, turns[:2]) is None


@pytest.mark.parametrize("style", ["llama-2", "mistral", "gemma", "gemma-without-system"])
def test_messages_that_the_template_refuses_are_refused(style: str, language_model: Path) -> None:
    tokenizer = chat_tokenizer(style)
    chat = facts_of(tokenizer, language_model)
    assert chat is not None
    for turns in ([("user", "a"), ("user", "b")], [("assistant", "a"), ("user", "b")]):
        assert expected(tokenizer, turns) is None
        assert rendered(chat, turns) is None
    system = [("system", "s"), ("user", "u")]
    assert (rendered(chat, system) is None) == (style in ("mistral", "gemma-without-system"))


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no') }}",
        "{% if %}",
        "{{ messages[0].content.no_such_method() }}",
        "{{ unk_token }}{% for m in messages %}{{ m.role + m.content | upper }}{% endfor %}",
        "{% for m in messages %}{{ m.role + m.content }}{% endfor %}{{ date_of_today.year }}",
    ],
)
def test_a_template_that_a_device_cannot_render_is_refused(
    template: str, language_model: Path
) -> None:
    tokenizer = chat_tokenizer("chatml", template)
    tokenizer.unk_token = "<unk>"
    with pytest.raises(ModelError) as refusal:
        facts_of(tokenizer, language_model)
    assert refusal.value.code == "model.template"


def test_a_model_without_a_template_has_no_form(language_model: Path, tmp_path: Path) -> None:
    tokenizer = chat_tokenizer("chatml")
    tokenizer.chat_template = None
    assert facts_of(tokenizer, language_model) is None
    assert facts_of(None, language_model) is None


@pytest.mark.parametrize("where", ["config", "named", "jinja", "json", "json-spoiled", "unnamed"])
def test_a_template_is_found_wherever_it_is(
    where: str, language_model: Path, tmp_path: Path
) -> None:
    folder = model_of(language_model, tmp_path / "model")
    tokenizer = chat_tokenizer("gemma")
    source, tokenizer.chat_template = tokenizer.chat_template, None
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    fields = json.loads(config.read_text("utf-8"))
    tools = {"name": "tool_use", "template": "{{ tools }}"}
    usual = {"name": "default", "template": source}
    if where == "config":
        fields["chat_template"] = source
    elif where == "named":
        fields["chat_template"] = [tools, usual]
    elif where == "unnamed":
        fields["chat_template"] = [tools]
    elif where == "jinja":
        (folder / "chat_template.jinja").write_text(source, "utf-8")
    else:
        text = json.dumps({"chat_template": source})
        (folder / "chat_template.json").write_text(text[: None if where == "json" else 9], "utf-8")
    config.write_text(json.dumps(fields), "utf-8")
    checkpoint = Checkpoint(folder)
    if where in ("json-spoiled", "unnamed"):
        with pytest.raises(ModelError) as refusal:
            chat_facts(checkpoint, load_tokenizer(checkpoint))
        assert refusal.value.code == "model.template"
        return
    chat = chat_facts(checkpoint, load_tokenizer(checkpoint))
    assert isinstance(chat, ChatFormat) and chat.merge_system
    assert generation_facts(backbone_of(checkpoint), 48).chat == chat
    read = AutoTokenizer.from_pretrained(folder)
    read.chat_template = source
    assert rendered(chat, WITH_SYSTEM[1]) == expected(read, WITH_SYSTEM[1])


def test_a_tokenizer_without_padding_is_taken_of_a_model_that_writes(
    language_model: Path, tmp_path: Path
) -> None:
    folder = model_of(language_model, tmp_path / "model")
    tokenizer = chat_tokenizer("chatml")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").unlink()  # it is another model's file too
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": len(tokenizer)}))
    assert AutoTokenizer.from_pretrained(folder).pad_token_id is None
    assert load_tokenizer(Checkpoint(folder)).pad_token == "<|im_end|>"


def test_messages_of_other_roles_are_refused(language_model: Path) -> None:
    chat = facts_of(chat_tokenizer("chatml"), language_model)
    assert chat is not None
    with pytest.raises(InputError) as refusal:
        chat.render([Message("tool", "x")])
    assert refusal.value.code == "input.role"
