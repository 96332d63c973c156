"""The sandbox in which jinja2 runs a base's template of conversations, as transformers has it.

The one module that imports jinja2, and imported only where a template is run.
"""

import json
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Characters that a template may write of its own, besides what was said.
_MOST_WORDS = 1 << 20


class TemplateRefusal(jinja2.TemplateError):
    """A template's own refusal of messages, by `raise_exception`."""


# A template may do whatever an expression of Python may.
FAILURES = (
    *(jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RuntimeError),
    *(TypeError, ValueError, MemoryError),
    SyntaxError,  # in the code that jinja2 makes of it
)


class GenerationBlock(Extension):
    """The block `generation`, which marks what a model writes and changes nothing."""

    tags = {"generation"}  # noqa: RUF012  # declared so by jinja2

    def parse(self, parser: Parser) -> list[Node]:
        """Gives what stands in the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def rendered(source: str, given: dict[str, Any]) -> str:
    """Runs a template over what it is given, of which it can change nothing.

    Raises TemplateRefusal, and FAILURES for a template that is none or fails.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationBlock, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": datetime.now().strftime}
    most = _MOST_WORDS + 8 * sum(len(message["content"]) for message in given["messages"])
    pieces, length = [], 0
    for piece in environment.from_string(source).generate(**given):
        pieces.append(piece)
        length += len(piece)
        if length > most:  # before a tokenizer takes many times the memory
            raise jinja2.TemplateError("it writes without end")
    return "".join(pieces)


def _refuse(message: str) -> NoReturn:
    raise TemplateRefusal(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    # jinja2's own writes for HTML.
    return json.dumps(value, ensure_ascii=False, indent=indent)
