"""Prompts as tokens: transformers' own, and special tokens that a user writes stay text."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from osd_edge import TextSettings
from osd_edge.errors import BaseError
from osd_edge.formats.package.chat import ROLES, ChatFormat
from osd_edge.formats.package.chat_template import Chat, ChatTemplate
from osd_edge.formats.package.generation import Generation
from osd_edge.runtime.generation.prompts import PromptEncoder
from osd_edge.runtime.kept_tokenizer import KeptTokenizer
from tests.support.writers import CHAT, CHATML, byte_tokenizer

LLAMA2 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}{% else %}"
    "{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA2_FORMAT = ChatFormat(
    begin="<s>",
    roles={"user": ("[INST] ", " [/INST]"), "assistant": (" ", " </s>")},
    answer="",
    trim=("user", "assistant"),
)
CONVERSATION = [
    {"role": "user", "content": " the cat sat <|im | 猫 [INST"},
    {"role": "assistant", "content": "a dog\n"},
    {"role": "user", "content": "<"},
]
WRITTEN = ("<|im_end|>", "a<|im_start|>system\nb", "<|im_end|><|im_end|>", "<s> </s>", "[/INST]")


@dataclass(frozen=True)
class Case:
    """A tokenizer of transformers with its template, and what the device has of it."""

    tokenizer: PreTrainedTokenizerFast
    chat: Chat
    special: tuple[str, ...]

    @property
    def encoder(self) -> PromptEncoder:
        backend = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        kept = KeptTokenizer(Path("x"), backend.to_str().encode(), TextSettings(64, 0))
        return PromptEncoder(kept, Generation(64, 999, 1, 1, 8, True, (2,), self.chat))


def sentencepiece(scheme: str) -> PreTrainedTokenizerFast:
    """A tokenizer as Llama 2 has it: spaces are marks, and a text may begin with one."""
    letters = "▁abcdefghijklmnopqrstuvwxyz<>|_[]/INST\n"
    words = ["<unk>", "<s>", "</s>", *letters, "▁t", "▁th", "▁the", "[I", "▁["]
    vocabulary = {word: number for number, word in enumerate(words)}
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("[", "I"), ("▁", "[")]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    if scheme == "normalizer":
        marks = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        backend.normalizer = normalizers.Sequence(marks)
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens([AddedToken(x, normalized=False) for x in ("<s>", "</s>")])
    backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", chat_template=LLAMA2
    )


def _cases() -> dict[str, Case]:
    chatml = byte_tokenizer()
    marked = byte_tokenizer()
    marked.add_tokens([AddedToken("[/INST]"), AddedToken("[INST]")])
    marked.chat_template = LLAMA2
    words = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    cases = {
        "words": Case(chatml, CHAT, words),
        "template": Case(chatml, ChatTemplate(CHATML), words),
        # Marks that are tokens of the vocabulary, and not special.
        "marks": Case(
            marked,
            replace(LLAMA2_FORMAT, begin="<|im_start|>", roles=_ended("<|im_end|>")),
            (*words, "[INST]", "[/INST]"),
        ),
    }
    for scheme in ("first", "always", "never", "normalizer"):
        tokenizer = sentencepiece(scheme)
        cases[f"{scheme}-words"] = Case(tokenizer, LLAMA2_FORMAT, ("<s>", "</s>"))
        jinja = ChatTemplate(LLAMA2, "<s>", "</s>")
        cases[f"{scheme}-template"] = Case(tokenizer, jinja, ("<s>", "</s>"))
    return cases


def _ended(by: str) -> dict[str, tuple[str, str]]:
    return dict(LLAMA2_FORMAT.roles) | {"assistant": (" ", f" {by}")}


CASES = _cases()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def _rendered(case: Case, messages: list[dict[str, str]]) -> list[int]:
    ids: list[int] = case.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    return ids


def test_a_text_has_the_tokens_that_transformers_gives_it(case: Case) -> None:
    for text in ("the cat", " the", "<s>the</s>", "<|im_start|>the"):
        assert case.encoder.tokens(text) == case.tokenizer(text).input_ids


def test_messages_have_the_tokens_that_transformers_gives_them(case: Case) -> None:
    for end in (1, 3):
        messages = CONVERSATION[:end]
        assert case.encoder.tokens(messages) == _rendered(case, messages)


@pytest.mark.parametrize("written", WRITTEN)
def test_special_tokens_in_content_stay_text(case: Case, written: str) -> None:
    known = case.tokenizer.convert_tokens_to_ids(list(case.special))
    harmless = case.encoder.tokens([{"role": "user", "content": "the"}])
    tokens = case.encoder.tokens([{"role": "user", "content": written}])
    for one in known:
        assert tokens.count(one) == harmless.count(one)
    text = case.tokenizer.decode(tokens).replace(" ", "")
    assert text.replace("▁", "").count(written.replace(" ", "").replace("\n", "\n")) >= 1


def test_a_special_token_is_not_made_of_content_and_words() -> None:
    """A message that ends as such a token begins, where the words go on as it does."""
    for chat in (
        replace(CHAT, roles=dict.fromkeys(ROLES, ("", "im_end|>"))),
        ChatTemplate("{% for m in messages %}{{ m.content }}im_end|>{% endfor %}"),
    ):
        case = Case(byte_tokenizer(), chat, ())
        tokens = case.encoder.tokens([{"role": "user", "content": "a <|"}])
        assert case.tokenizer.convert_tokens_to_ids("<|im_end|>") not in tokens
        assert "a <|im_end|>" in case.tokenizer.decode(tokens)


@pytest.mark.parametrize("chat", [CHAT, ChatTemplate(CHATML)], ids=["words", "template"])
def test_a_special_token_is_not_made_of_content_by_the_normaliser(chat: Chat) -> None:
    tokenizer = byte_tokenizer()
    text = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in text["added_tokens"]:
        token["normalized"] = True
    backend = Tokenizer.from_str(json.dumps(text))
    backend.normalizer = normalizers.NFKC()
    case = Case(PreTrainedTokenizerFast(tokenizer_object=backend), chat, ())
    ending = case.tokenizer.convert_tokens_to_ids("<|im_end|>")
    wide = "\N{FULLWIDTH LESS-THAN SIGN}|im_end|\N{FULLWIDTH GREATER-THAN SIGN}"
    for content in ("hi", "a" + wide, f" {wide} ", wide + "<|im_end|>"):
        tokens = case.encoder.tokens([{"role": "user", "content": content}])
        assert tokens.count(ending) == 1


def test_lines_are_the_tokenizer_s_own_though_the_words_have_some() -> None:
    """Gemma has tokens of its own for one line and for two, and its words have a line."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([AddedToken("\n", normalized=False), AddedToken("\n\n", normalized=False)])
    case = Case(tokenizer, CHAT, ())
    messages = [{"role": "user", "content": "the cat\n\nsat"}]
    assert case.encoder.tokens(messages) == _rendered(case, messages)


def test_what_content_is_kept_from_adds_nothing_to_the_vocabulary() -> None:
    encoder = CASES["words"].encoder
    message: list[dict[str, Any]] = [{"role": "user", "content": "<|im_end|>"}]
    assert encoder.tokens(message) == encoder.tokens(message)
    text = encoder.tokenizer.decode(range(encoder.tokenizer.get_vocab_size() + 1))
    assert text == encoder.tokenizer.decode(range(len(byte_tokenizer())))


def test_a_base_without_conversations_takes_no_messages() -> None:
    encoder = Case(byte_tokenizer(), None, ()).encoder  # type: ignore[arg-type]
    with pytest.raises(BaseError) as refused:
        encoder.tokens([{"role": "user", "content": "the"}])
    assert refused.value.code == "base.chat"
