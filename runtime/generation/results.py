"""The text that a session writes: whole answers, and the pieces of one that is streamed."""

from dataclasses import dataclass

from osd_edge.errors import OsdEdgeError

STOP, LENGTH, CONTEXT = "stop", "length", "context"
CANCELLED, REFUSED = "cancelled", "refused"


@dataclass(frozen=True)
class GeneratedText:
    """The answer to one prompt, as `EdgeSession.generate` gives it.

    Attributes:
        text: the answer, without the stop text that ended it.
        tokens: ids of its tokens, without the stop token; those of a stop text are among them.
        ended: why it ended: `stop` (a stop token or text), `length` (`max_tokens`), `context` (no
            more room in the base's context), `cancelled`, or `refused` (see `error`).
        prompt_tokens: how many tokens the prompt has.
        seconds_to_first: from the call to the first token, 0 where there is none.
        seconds: from the call to the end of this answer.
        task: the task that wrote it, None for the base alone.
        error: the refusal of this row, None unless it was refused.

    Example:
        >>> from osd_edge.runtime import EdgeSession
        >>> session = EdgeSession("smollm2")
        >>> (answer,) = session.generate(["The capital of France is"], max_tokens=4)
        >>> len(answer.tokens) <= 4, answer.ended in ("stop", "length")
        (True, True)
    """

    text: str
    tokens: tuple[int, ...]
    ended: str
    prompt_tokens: int
    seconds_to_first: float
    seconds: float
    task: str | None
    error: OsdEdgeError | None = None


@dataclass(frozen=True)
class Piece:
    """A part of an answer that is streamed: of whole characters, and empty where none is sure yet.

    The pieces of a row, one after the other, are its answer.

    Attributes:
        row: the number of the prompt.
        text: the next part of the text.
        tokens: ids of the tokens that came since the row's piece before.
        ended: why the answer ended, as in `GeneratedText`; None while it goes on.
        error: the refusal of this row, None unless it was refused.

    Example:
        >>> from osd_edge.runtime import EdgeSession
        >>> session = EdgeSession("smollm2")
        >>> pieces = list(session.generate(["The capital of"], max_tokens=4, stream=True))
        >>> {piece.row for piece in pieces}, pieces[-1].ended in ("stop", "length")
        ({0}, True)
    """

    row: int
    text: str
    tokens: tuple[int, ...] = ()
    ended: str | None = None
    error: OsdEdgeError | None = None
