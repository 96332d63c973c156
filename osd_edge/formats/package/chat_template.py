"""A base's own template of conversations, run by jinja2 where stored words do not suffice.

jinja2 comes with the extra `[chat]`, and is imported when a conversation is rendered. The template
is code of the package's: it runs in jinja2's sandbox, as transformers runs it, and sees the
messages and the texts of two tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osd_edge.errors import BaseError, Code, InputError, shown
from osd_edge.formats.package.chat import (
    ROLES,
    ChatFormat,
    Message,
    Segment,
    chat_format_of,
    text_of,
)


@dataclass(frozen=True)
class ChatTemplate:
    """A template of conversations in the language of jinja2.

    Attributes:
        source: The template.
        bos: The text of the token that begins a text, which templates call `bos_token`.
        eos: The text of the token that ends one, `eos_token`.

    >>> chat = ChatTemplate("{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}")
    >>> "".join(part.text for part in chat.render([Message("user", "Why?")]))
    '[user] Why?'
    """

    source: str
    bos: str = ""
    eos: str = ""

    def render(self, messages: Sequence[Message], *, answer: bool = True) -> list[Segment]:
        """Renders messages, and with `answer` the words before an answer, as one segment.

        It is told as words of the template, contents too: a special token within content has to be
        made harmless before.

        Raises InputError `input.role` for a role that is none, or for messages that the template
        refuses, `input.missing-package` without jinja2; BaseError `base.chat` for a template that
        is none or fails.
        """
        for message in messages:
            if message.role not in ROLES:  # which may be a text of any sort in a template
                raise InputError(
                    Code.INPUT_ROLE,
                    f"expected one of the roles {', '.join(ROLES)}, "
                    f"found {shown(repr(message.role))}",
                )
        try:
            from osd_edge.formats.package.chat_environment import (
                FAILURES,
                TemplateRefusal,
                rendered,
            )
        except ImportError as error:
            raise InputError(
                Code.INPUT_MISSING_PACKAGE,
                "this base's conversations need jinja2: pip install osd-edge[chat]",
            ) from error
        given = {
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "bos_token": self.bos,
            "eos_token": self.eos,
            "add_generation_prompt": answer,
            "tools": None,
            "documents": None,
        }
        try:
            return [Segment(rendered(self.source, given))]
        except TemplateRefusal as error:
            raise InputError(
                Code.INPUT_ROLE, f"the base's chat template refuses: {shown(str(error), 200)}"
            ) from error
        except FAILURES as error:
            raise BaseError(
                Code.BASE_CHAT, f"the base's chat template fails: {shown(str(error), 200)}"
            ) from error


Chat = ChatFormat | ChatTemplate


def chat_of(fields: object) -> Chat | None:
    """Reads the manifest's `chat`, as `dataclasses.asdict` gave it, or null; raises ValueError."""
    if fields is None:
        return None
    if not isinstance(fields, Mapping):
        raise ValueError("chat")
    if "source" not in fields:
        return chat_format_of(fields)
    if set(fields) != set(ChatTemplate.__dataclass_fields__):
        raise ValueError("a chat template's fields")
    return ChatTemplate(text_of(fields["source"]), text_of(fields["bos"]), text_of(fields["eos"]))
