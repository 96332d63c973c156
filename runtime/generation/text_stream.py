"""Makes text of tokens as they come, in whole characters, and looks for the texts that end it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from osd_edge.data.raised_by import raised_by
from osd_edge.errors import BaseError, Code, shown

_BROKEN = "\ufffd"  # what a tokenizer gives for a part of a character


class TextStream:
    """The text of one answer while it is written.

    A token may be a part of a character, and a part of a stop text: text is given once it is sure
    to be neither.

    Attributes:
        stopped: Whether a stop text was found; the text before it is all that there is.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        """Begins an answer that `stop` texts end; without a tokenizer, None, it has no text."""
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = stop
        self._waiting = ""  # text that may be a part of a stop text
        self._tokens: list[int] = []
        self._length = 0  # of the text of these, as far as it came
        self._stream: Any = None
        if tokenizer is not None:
            from tokenizers.decoders import DecodeStream

            self._stream = DecodeStream(skip_special_tokens=True)

    def step(self, token: int) -> str:
        """Takes the next token, and gives the text that is sure now. Raises BaseError `base.text`.

        A text of `stop` that is found ends it: see `stopped`.
        """
        if self._stream is None:
            return ""
        self._tokens.append(token)
        with _refusals():
            text: str | None = self._stream.step(self._tokenizer, token)
        return self._sure(text) if text else ""

    def end(self) -> str:
        """Gives what waited for a stop text, or for a character, which never came.

        The beginning of a character that never ends is left out.
        """
        text = ""
        if self._stream is not None and not self.stopped:
            with _refusals():
                whole = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
            text = self._sure(whole[self._length :].rstrip(_BROKEN))
        if not self.stopped:
            text, self._waiting = text + self._waiting, ""
        return text

    def _sure(self, text: str) -> str:
        """Takes more text, and gives what is no part of a stop text."""
        self._length += len(text)
        self._waiting += text
        found = [at for at in map(self._waiting.find, self._stop) if at >= 0]
        self.stopped = bool(found)
        sure = min(found) if found else len(self._waiting) - self._held()
        text, self._waiting = self._waiting[:sure], self._waiting[sure:]
        return text

    def _held(self) -> int:
        """The most characters at the end that a stop text may begin with."""
        waiting = self._waiting
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(waiting)), 0, -1):
            end = waiting[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length
        return 0


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Makes the tokenizer's exceptions refusals."""
    try:
        yield
    except BaseException as error:  # the package's panics are no Exception
        if not raised_by("tokenizers", error):
            raise
        raise BaseError(Code.BASE_TEXT, f"the tokenizer fails: {shown(str(error))}") from error
