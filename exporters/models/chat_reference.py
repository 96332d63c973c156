"""A model's own template of conversations, rendered by transformers: what stored words must equal.

Templates come in `tokenizer_config.json`, alone or several by name, in `chat_template.jinja` or in
`chat_template.json`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.unreadable import first_line
from osd_edge.formats.package.chat import Message

_FILE = "chat_template.json"
_USUAL = "default"  # of several templates: the others are for tools and documents


class ChatReference:
    """A template's `source`, and the text and tokens that transformers makes of messages by it."""

    def __init__(self, tokenizer: Any, source: str) -> None:
        """Take the tokenizer of the model whose template `source` is."""
        self._tokenizer = tokenizer
        self.source = source

    @property
    def bos(self) -> str:
        """The text of the token that begins a text, empty where there is none."""
        return self._tokenizer.bos_token or ""

    @property
    def eos(self) -> str:
        """The text of the token that ends a text, empty where there is none."""
        return self._tokenizer.eos_token or ""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The texts of all tokens that are not words of the language."""
        added = self._tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
        return tuple(token.content for token in added if token.content.strip())

    def text(
        self, messages: Sequence[Message], day: str | None = None, *, answer: bool = True
    ) -> str | None:
        """Messages as a text; None where the template refuses them.

        With `answer` the words before an answer follow. `day` is what the template finds when it
        asks for the date, unless it is today's.
        """
        given = [{"role": m.role, "content": m.content} for m in messages]
        # A macro of that name comes before what transformers gives to templates.
        date = "" if day is None else f"{{% macro strftime_now(form) %}}{day}{{% endmacro %}}"
        try:
            text: str = self._tokenizer.apply_chat_template(
                given,
                chat_template=date + self.source,
                tokenize=False,
                add_generation_prompt=answer,
            )
        except Exception:  # a template is a program, and may end in any
            return None
        return text

    def why_not(self, messages: Sequence[Message]) -> str:
        """Why the template refuses messages, in its own words."""
        given = [{"role": m.role, "content": m.content} for m in messages]
        try:
            self._tokenizer.apply_chat_template(given, chat_template=self.source, tokenize=False)
        except Exception as error:  # see above
            return first_line(error)
        return "it says nothing"

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of messages, which the template does not refuse."""
        given = [{"role": m.role, "content": m.content} for m in messages]
        ids: list[int] = self._tokenizer.apply_chat_template(
            given, chat_template=self.source, add_generation_prompt=True, return_dict=False
        )
        return ids

    def tokens_of(self, text: str) -> list[int]:
        """The tokens of a rendered text, as a device makes them."""
        backend = self._tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        return ids


def chat_reference(checkpoint: Checkpoint, tokenizer: Any) -> ChatReference | None:
    """The template of a model whose tokenizer is `tokenizer`; None where it has none.

    Raises ModelError `model.template` for one that cannot be read.
    """
    found = tokenizer.chat_template or _in_file(checkpoint.folder / _FILE)
    if isinstance(found, list):
        found = {entry.get("name"): entry.get("template") for entry in found}
    if isinstance(found, dict):
        if _USUAL not in found:
            names = ", ".join(map(str, found))
            raise ModelError(
                Code.MODEL_TEMPLATE,
                f"{checkpoint.folder} has chat templates {shown(names, 100)}: expected one, or one "
                f"named {_USUAL}",
            )
        found = found[_USUAL]
    if not found:
        return None
    if not isinstance(found, str):
        raise ModelError(Code.MODEL_TEMPLATE, f"{checkpoint.folder}: its chat template is no text")
    return ChatReference(tokenizer, found)


def _in_file(file: Path) -> Any:
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text("utf-8"))["chat_template"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            Code.MODEL_TEMPLATE, f"{file} holds no chat template: {first_line(error)}"
        ) from error
