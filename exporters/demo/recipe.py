"""The recipe of a demonstration task, by which templates become sentences."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from osd_edge.data.examples import Example

Templates = Mapping[str, tuple[str, ...]]
"""Label to its sentence templates, with `{slot}` where a word goes."""

_SLOT = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class DemoTask:
    """A classification of short texts: a question with one of `labels` as its answer."""

    name: str
    question: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class DemoData:
    """Three parts that share no sentence; `test` also shares no template with the others."""

    train: tuple[Example, ...]
    calibration: tuple[Example, ...]
    test: tuple[Example, ...]


@dataclass(frozen=True)
class Recipe:
    """The parts of which a task's sentences are made.

    `seen` serves training and calibration, `held_out` only the test. `words` draws a value for
    every slot; `openers` are put before a third of the sentences, whatever their label.
    """

    task: DemoTask
    seen: Templates
    held_out: Templates
    words: Callable[[random.Random], Mapping[str, str]]
    openers: tuple[str, ...]


def sentence(recipe: Recipe, template: str, rng: random.Random) -> str:
    """Fill `template` with words drawn by `rng`, perhaps after an opener; starts with a capital."""
    filled = template.format_map(recipe.words(rng))
    if rng.random() < 1 / 3:
        filled = f"{rng.choice(recipe.openers)} {filled}"
    return filled[0].upper() + filled[1:]


def pattern(template: str) -> re.Pattern[str]:
    """Return what matches the end of every sentence made from `template`, its case ignored."""
    parts = _SLOT.split(template)
    return re.compile(".+".join(map(re.escape, parts)) + "$", re.IGNORECASE)
