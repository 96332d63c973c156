"""Takes as much of very long texts as decides which of their tokens are used.

A tokenizer reads a text to its end before it cuts it, and keeps all that it cuts off: 1.5 GB for a
text of 10 MB. Of two texts in a pair it even makes every combination of their parts.
"""

from collections.abc import Callable, Iterator
from typing import Literal

CutSide = Literal["left", "right"]  # on which a text is cut
CountTokens = Callable[[str], int]  # tokens of a text, without special ones

_LETTERS = 32  # for each token that is used, read of a long text at first
_PIECE = 1 << 16  # letters that are counted at once
_SEAM = 4  # tokens by which two pieces may differ from the text that they are cut from


def used_texts(
    text: str, pair: str | None, most: int, side: CutSide, count: CountTokens
) -> tuple[str, str | None]:
    """Cuts a text, or a pair of texts, of which `most` tokens are used; they stay the same ones.

    The tokenizer cuts on `side`, and of a pair the longer text first. Texts of usual length come
    back as they are, and so do those without blanks. `count` tells the tokens of a part of a text.

    >>> cut, _ = used_texts("a cat " * 1000, None, 4, "right", lambda text: len(text.split()))
    >>> 8 < len(cut.split()) < 100
    True
    """
    if max(len(text), len(pair or "")) <= _LETTERS * most:
        return text, pair
    if pair is None:
        return _end(text, most, 2 * most, side, count), None
    # The longer of a pair, in tokens, is cut first and gets an odd one: it has to stay the longer.
    swapped = _has_more(text, pair, count)
    shorter, longer = (pair, text) if swapped else (text, pair)
    shorter = _end(shorter, most, 2 * most, side, count)
    longer = _end(longer, most, max(2 * most, count(shorter)), side, count)
    return (longer, shorter) if swapped else (shorter, longer)


def _end(text: str, most: int, least: int, side: CutSide, count: CountTokens) -> str:
    """The words at the end of a long text that is kept, of more than `least` tokens; else all.

    Tokens depend on what stands around them, but no farther than their own word, or what has no
    blank in it: where `least` is twice `most`, the outermost `most` are those of the whole text.
    """
    letters = _LETTERS * most
    while len(text) > letters:
        if side == "right":
            words = text[:letters].rsplit(maxsplit=1)
            kept = words[0] if words else ""
        else:
            words = text[-letters:].split(maxsplit=1)
            kept = words[-1] if words else ""
        if len(words) == 2 and count(kept) > least:
            return kept
        letters *= 4  # long words are one token, blanks often none
    return text


def _has_more(text: str, other: str, count: CountTokens) -> bool:
    """Says whether a text has more tokens than another; counts piece by piece, and no farther."""
    if text == other:
        return False
    shorter, longer = sorted((text, other), key=len)
    parts = [count(piece) for piece in _pieces(shorter)]
    least, found, seams = sum(parts), 0, len(parts) - 1
    for piece in _pieces(longer):
        found += count(piece)
        if found > least + _SEAM * seams:
            return longer is text
        seams += 1
    if found < least - _SEAM * seams:
        return longer is other
    return count(text) > count(other)


def _pieces(text: str) -> Iterator[str]:
    """A text piece by piece, each but the first with the blank that stands before its words."""
    start = 0
    while len(text) - start > _PIECE:
        end = max(text.rfind(blank, start + 1, start + _PIECE) for blank in " \n")
        if end < 0:
            break
        yield text[start:end]
        start = end
    yield text[start:]
