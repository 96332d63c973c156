"""Texts in stock onnxruntime-genai: its tokens are the tokenizer's, or it is not told of it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, trainers
from tokenizers import pre_tokenizers as splits
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from osd_edge.exporters.genai.config import GENAI_CONFIG, genai_config
from osd_edge.exporters.genai.template import without_block_trimming
from osd_edge.exporters.genai.tokenizer import EXPRESSIONS, TOKENIZER_CONFIG, tokenizer_config
from osd_edge.formats.package.generation import Generation
from osd_edge.formats.package.manifest import TOKENIZER
from tests.support.chat_templates import TEMPLATES, chat_tokenizer
from tests.support.stock_genai import library

SPECIAL = ("<unk>", "<s>", "</s>")
CORPUS = ["the cat sat on the mat and the dog ran", "don't can't I'M it's 12345", "café é 日本 !!!"]
PIECES = (
    *("the", " cat", "don't", "I'M", "  ", "\n", "\r\n", "\t", "123", "4567890", "é", "日本", "😀"),
    *("!?", "...", "<s>", "</s>", "ABC", " Ünï", "\u00a0", "\u200d", "_", "\u2019s", "ß", "½", "٣"),
    *("ไทย", "हिन्दी", "a/b\n\n", "  \n  x"),
)
DECOMPOSED = "e\u0301"
MARKED = normalizers.Replace(" ", "▁")


def by(expression: str) -> Any:
    parts = [splits.Split(Regex(expression), "isolated"), splits.ByteLevel(False, use_regex=False)]
    return splits.Sequence(parts)


def of_bytes(split: Any, normalizer: Any = None) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = split, decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    letters = splits.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(SPECIAL), initial_alphabet=letters, show_progress=False
    )
    made.train_from_iterator(CORPUS * 20, trainer)
    return made


def of_pieces(steps: list[Any], split: Any) -> Tokenizer:
    """A tokenizer as those that were made of SentencePiece's, whose unknown letters are bytes."""
    letters = [f"<0x{byte:02X}>" for byte in range(256)]
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = splits.Metaspace()
    special = [*SPECIAL, *letters]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False)
    made.train_from_iterator(CORPUS[:1] * 20, trainer)
    described = json.loads(made.to_str())
    described["added_tokens"] = described["added_tokens"][: len(SPECIAL)]
    described["pre_tokenizer"] = None
    made = Tokenizer.from_str(json.dumps(described))
    made.normalizer = normalizers.Sequence(steps) if len(steps) > 1 else steps[0]
    first = [decoders.Strip(" ", 1, 0)] if len(steps) > 1 else []
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *first]
    )
    if split is not None:
        made.pre_tokenizer = split
    return made


def without_decoder(made: Tokenizer) -> Tokenizer:
    made.decoder = decoders.Fuse()
    return made


def in_transformers(backend: Tokenizer) -> Any:
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    made._tokenizer = backend  # version 4 of transformers takes the first space away
    return made


GPT2 = splits.ByteLevel(add_prefix_space=False)
READ = {
    "gpt2": lambda: of_bytes(GPT2),
    "llama-3": lambda: of_bytes(by(EXPRESSIONS[0])),
    "qwen": lambda: of_bytes(by(EXPRESSIONS[1]), normalizers.NFC()),
    "tekken": lambda: of_bytes(by(EXPRESSIONS[2])),
    "digits": lambda: of_bytes(splits.Sequence([splits.Digits(individual_digits=True), GPT2])),
    "digits-by-expression": lambda: of_bytes(
        splits.Sequence([splits.Split(Regex(r"\p{N}"), "isolated"), GPT2])
    ),
    "llama-2": lambda: of_pieces([normalizers.Prepend("▁"), MARKED], None),
    "gemma": lambda: of_pieces([MARKED], splits.Split(" ", "merged_with_previous")),
}
NOT_READ = {
    "a space put first": lambda: of_bytes(splits.ByteLevel(add_prefix_space=True)),
    "an expression of its own": lambda: of_bytes(by(r"[a-z]+|\s+|[^a-z\s]")),
    "nothing split": lambda: of_bytes(splits.ByteLevel(False, use_regex=False)),
    "small letters": lambda: of_bytes(GPT2, normalizers.Lowercase()),
    "pieces split by spaces": lambda: of_pieces([MARKED], splits.Metaspace()),
    "a space that is not taken off": lambda: without_decoder(READ["llama-2"]()),
    "words": lambda: Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, "<unk>")),
}


def stock(backend: Tokenizer, tokenizer: Any, template: str | None, folder: Path) -> Any:
    """genai's own tokenizer over the two files as a package has them."""
    described = tokenizer_config(tokenizer, template)
    assert described is not None
    (folder / TOKENIZER).write_text(backend.to_str(), "utf-8")
    (folder / TOKENIZER_CONFIG).write_text(json.dumps(described), "utf-8")
    facts = Generation(64, len(tokenizer), 1, 1, 8, True, (2,))
    (folder / GENAI_CONFIG).write_text(json.dumps(genai_config(facts, 8, None, None)), "utf-8")
    return library().Tokenizer(str(folder))


def texts(seed: int) -> list[str]:
    made = random.Random(seed)
    return ["".join(made.choices(PIECES, k=made.randint(1, 12))) for _ in range(200)]


@pytest.mark.parametrize("form", READ)
def test_ids_of_texts_are_those_of_the_tokenizer(form: str, tmp_path: Path) -> None:
    backend = READ[form]()
    found = stock(backend, in_transformers(backend), None, tmp_path)
    for text in [*texts(1), ""]:
        assert found.encode(text).tolist() == backend.encode(text).ids, repr(text)


@pytest.mark.parametrize("form", READ)
def test_an_answer_is_streamed_as_the_tokenizer_tells_it(form: str, tmp_path: Path) -> None:
    backend = READ[form]()
    found = stock(backend, in_transformers(backend), None, tmp_path)
    for text in texts(2):
        ids = [id_ for id_ in backend.encode(text).ids if id_ >= len(SPECIAL)]
        stream = found.create_stream()
        # The space that stands before a text in pieces of Llama 2's kind stays (docs/adapters.md).
        first = " " if form == "llama-2" and str(backend.id_to_token(ids[0]))[0] == "▁" else ""
        assert "".join(map(stream.decode, ids)) == first + backend.decode(ids), repr(text)


@pytest.mark.parametrize(("bos", "eos"), [(False, False), (True, False), (True, True)])
def test_tokens_around_a_text_are_added_where_an_app_asks(
    bos: bool, eos: bool, tmp_path: Path
) -> None:
    backend = of_bytes(GPT2)
    if bos or eos:
        single = "<s> " * bos + "$A" + " </s>" * eos
        ids = [(name, i) for i, name in enumerate(SPECIAL)]
        backend.post_processor = TemplateProcessing(single=single, special_tokens=ids)
    found = stock(backend, in_transformers(backend), None, tmp_path)
    for text in texts(3)[:20]:
        assert found.encode(text).tolist() == backend.encode(text, add_special_tokens=False).ids
    found.update_options(add_special_tokens="true")
    for text in texts(3)[:20]:
        assert found.encode(text).tolist() == backend.encode(text).ids


@pytest.mark.parametrize("form", NOT_READ)
def test_genai_is_not_told_of_a_tokenizer_that_it_reads_otherwise(form: str) -> None:
    assert tokenizer_config(in_transformers(NOT_READ[form]()), None) is None


def test_genai_is_not_told_of_a_tokenizer_that_puts_other_tokens_around_a_text() -> None:
    backend = of_bytes(GPT2)
    backend.post_processor = TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 0)])
    assert tokenizer_config(in_transformers(backend), None) is None


def test_decomposed_letters_are_where_composing_tokenizers_differ(tmp_path: Path) -> None:
    """docs/adapters.md says this of Qwen's."""
    backend = READ["qwen"]()
    found = stock(backend, in_transformers(backend), None, tmp_path)
    assert found.encode(DECOMPOSED).tolist() != backend.encode(DECOMPOSED).ids
    assert found.encode("é").tolist() == backend.encode(DECOMPOSED).ids


CONVERSATIONS: tuple[list[dict[str, str]], ...] = (
    [{"role": "user", "content": "Hello there"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": " b "},
        {"role": "user", "content": "c\n  é"},
    ],
    [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
)


@pytest.mark.parametrize("style", sorted(set(TEMPLATES) - {"plain"}))
def test_conversations_are_those_of_the_template(style: str, tmp_path: Path) -> None:
    made = chat_tokenizer(style)
    # Of which no merges are: so that it may be split as GPT-2's.
    made.backend_tokenizer.pre_tokenizer = GPT2
    found = stock(made.backend_tokenizer, made, TEMPLATES[style], tmp_path)
    for messages in CONVERSATIONS:
        for begun in (True, False):
            try:
                expected = made.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=begun
                )
            except Exception:  # what transformers refuses, genai refuses
                with pytest.raises(RuntimeError):
                    found.apply_chat_template(json.dumps(messages), add_generation_prompt=begun)
                continue
            text = found.apply_chat_template(json.dumps(messages), add_generation_prompt=begun)
            assert text == expected


def test_a_template_that_genai_cannot_run_is_refused_by_it(tmp_path: Path) -> None:
    made = chat_tokenizer("plain")
    made.backend_tokenizer.pre_tokenizer = GPT2
    found = stock(made.backend_tokenizer, made, TEMPLATES["plain"], tmp_path)
    with pytest.raises(RuntimeError, match="not callable"):
        found.apply_chat_template(json.dumps(CONVERSATIONS[0]))


def test_a_raw_part_of_a_template_is_refused_by_it(tmp_path: Path) -> None:
    """docs/adapters.md says so."""
    made = chat_tokenizer("chatml")
    made.backend_tokenizer.pre_tokenizer = GPT2
    template = TEMPLATES["chatml"] + "{% raw %}x{% endraw %}"
    found = stock(made.backend_tokenizer, made, template, tmp_path)
    with pytest.raises(RuntimeError):
        found.apply_chat_template(json.dumps(CONVERSATIONS[0]))


def test_nothing_is_left_to_trim_in_a_template() -> None:
    from jinja2 import Environment

    source = (
        "{# a\n #}\n  {%- if m %}\n x {{ '%}\\n' }}\n   {%+ if 1 +%}\n y\n"
        "{% raw %}\n{% z %}\n{% endraw %}\n{% endif %}\n {% endif -%}\n\n end\n"
    )
    trimming = Environment(trim_blocks=True, lstrip_blocks=True)
    rendered = trimming.from_string(source).render(m=1)
    assert Environment().from_string(without_block_trimming(source)).render(m=1) == rendered
    assert Environment().from_string(source).render(m=1) != rendered
