"""Texts to distil on: those that there are, and more made of them.

On the texts that it was trained on a fine-tuned model is sure of itself; between them its
answers say more about where its boundaries are. A mixture joins the beginning of one text to the
end of another, or leaves out some words. No label is needed, since the fine-tuned model itself
says what the answer is.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from osd_edge.data.examples import Example

_ROUNDS = 4  # a text is trained on no more often; mixtures make up the rest
_DROPPED = 0.15  # share of words left out where words are left out


def training_texts(
    examples: Sequence[Example], count: int, seed: int, *, mixed: bool = True
) -> list[Example]:
    """`count` of `examples`, in a drawn order and up to four times each, then mixtures of them.

    In a drawn order, since a file sorted by label would show some of its classes alone where it
    has more rows than are needed. Pictures, and prompts with what is to be written, are not mixed
    but trained on as often as it takes.
    """
    drawn = random.Random(seed).sample(examples, len(examples))
    if not mixed or examples[0].picture is not None:
        return (drawn * -(-count // len(drawn)))[:count]
    real = (drawn * _ROUNDS)[:count]
    return real + mixtures(examples, count - len(real), seed)


def mixtures(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` unlabelled examples made of the texts of `examples`; pairs stay pairs."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        first, second = rng.choice(examples), rng.choice(examples)
        pair = None
        if first.text_pair is not None:
            pair = _mixed(first.text_pair, second.text_pair or "", rng)
        made.append(
            replace(first, label=None, text=_mixed(first.text, second.text, rng), text_pair=pair)
        )
    return made


def _mixed(first: str, second: str, rng: random.Random) -> str:
    separator = " " if " " in first.strip() else ""  # some languages set no blanks
    a, b = (text.split() if separator else list(text) for text in (first, second))
    if rng.random() < 0.5:
        a = [word for word in a if rng.random() >= _DROPPED] or a
    if rng.random() < 0.6:
        a = a[: rng.randrange(len(a) + 1)] + b[rng.randrange(len(b) + 1) :] or a
    return separator.join(a)
