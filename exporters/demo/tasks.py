"""The demonstration's tasks and their examples, the same ones for the same seed."""

import random

from osd_edge.data.examples import Example
from osd_edge.exporters.demo import errands, money, turn
from osd_edge.exporters.demo.recipe import (
    DemoData,
    DemoTask,
    Recipe,
    Templates,
    sentence,
)

__all__ = ["DemoData", "DemoTask", "demo_tasks", "generate", "recipe_of"]

TRAIN_SIZE, CALIBRATION_SIZE, TEST_SIZE = 1600, 128, 400

_RECIPES = (money.RECIPE, errands.RECIPE, turn.RECIPE)
_DRAWS_PER_SENTENCE = 50  # before a template is taken to have no new sentence left


def demo_tasks() -> tuple[DemoTask, ...]:
    """Return the three tasks."""
    return tuple(recipe.task for recipe in _RECIPES)


def recipe_of(task: DemoTask) -> Recipe:
    """Return the templates and words of one of `demo_tasks()`; any other is a ValueError."""
    for recipe in _RECIPES:
        if recipe.task == task:
            return recipe
    raise ValueError(f"no demonstration task {task.name!r}")


def generate(task: DemoTask, seed: int = 0) -> DemoData:
    """Make `task`'s examples: 1600 to train on, 128 to calibrate with and 400 to test.

    The labels are balanced to within one example. Raises ValueError for a task that is not one
    of `demo_tasks()`.
    """
    recipe = recipe_of(task)
    rng = random.Random(f"{task.name} {seed}")
    used: set[str] = set()
    return DemoData(
        train=_part(recipe, recipe.seen, TRAIN_SIZE, used, rng),
        calibration=_part(recipe, recipe.seen, CALIBRATION_SIZE, used, rng),
        test=_part(recipe, recipe.held_out, TEST_SIZE, used, rng),
    )


def _part(
    recipe: Recipe, templates: Templates, size: int, used: set[str], rng: random.Random
) -> tuple[Example, ...]:
    """Draw `size` sentences not yet in `used`, going round labels and each label's templates."""
    labels = recipe.task.labels
    examples = []
    for index in range(size):
        label = labels[index % len(labels)]
        choices = templates[label]
        template = choices[index // len(labels) % len(choices)]
        text = _new_sentence(recipe, template, used, rng)
        used.add(text)
        examples.append(Example(text, label))
    rng.shuffle(examples)
    return tuple(examples)


def _new_sentence(recipe: Recipe, template: str, used: set[str], rng: random.Random) -> str:
    for _ in range(_DRAWS_PER_SENTENCE):
        text = sentence(recipe, template, rng)
        if text not in used:
            return text
    raise ValueError(f"too few words to make new sentences from {template!r}")
