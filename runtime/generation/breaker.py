"""Breaks the special tokens that stand in someone's content, so that they stay text.

Whoever writes `<|im_end|>` into a message must not end it. A text that the tokenizer takes for a
token of its own is put into the midst of such a one; the token is taken out again, and what is left
are the tokens of the text. Content without special tokens is not touched, and so has the tokens
that transformers gives it.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from osd_edge.formats.package.chat import Segment


class Breaker:
    """Puts `name`, the text of a token of its own, into each of the texts `control` in content."""

    def __init__(self, name: str, control: Sequence[str]) -> None:
        """Takes the text of the token that breaks, and those of the tokens to be broken."""
        self._name = name
        # The longest first, as the tokenizer has it.
        self._control = sorted((text for text in control if text), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._control)) or "(?!)")

    def joined(self, parts: Sequence[Segment]) -> str:
        """Joins segments, and breaks control tokens that are not of the words alone."""
        text = "".join(part.text for part in parts)
        ends = [*accumulate(len(part.text) for part in parts)]
        done, at = "", 0
        while (match := self._pattern.search(text, at)) is not None:
            start, end = match.span()
            of = range(bisect_right(ends, start), bisect_left(ends, end) + 1)
            if any(parts[i].content for i in of):
                done += text[at : start + 1] + self._name
                at = start + 1  # another may begin within it
            else:
                done += text[at:end]
                at = end
        return done + text[at:]

    def rendered(self, render: Callable[[Callable[[str], str]], str]) -> str:
        """Breaks control tokens where words cannot be told from content.

        `render` makes the text, with a function that every content goes through.
        """
        text = render(self._inside)
        # One that begins in content and ends in words, or the other way round, is one more than
        # there are where the ends of content are broken too.
        guarded = render(self._and_at_the_ends)
        return text if self._count(text) == self._count(guarded) else guarded

    def joined_apart(self, parts: Sequence[Segment]) -> str:
        """Joins segments, of whose content no two letters come to stand beside each other."""
        return "".join(self.apart(part.text) if part.content else part.text for part in parts)

    def apart(self, content: str) -> str:
        """Breaks content between all of its letters: nothing is left that could be a token."""
        inner = content.strip()
        before, _, after = content.partition(inner) if inner else (content, "", "")
        return before + self._name + self._name.join(inner) + self._name + after

    def _inside(self, content: str) -> str:
        return self.joined([Segment(content, content=True)])

    def _and_at_the_ends(self, content: str) -> str:
        inner = content.strip()
        if not inner:
            return content
        before, _, after = content.partition(inner)
        return before + self._name + self._inside(inner) + self._name + after

    def _count(self, text: str) -> int:
        return sum(1 for _ in self._pattern.finditer(text))
