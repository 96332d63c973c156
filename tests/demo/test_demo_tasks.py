"""The demonstration's examples: parts that share nothing, balanced labels, the same by seed."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from osd_edge.data.examples import Example, read_examples, write_tsv
from osd_edge.errors import DataError
from osd_edge.exporters.demo.recipe import DemoData, DemoTask, pattern
from osd_edge.exporters.demo.tasks import demo_tasks, generate, recipe_of

each_task = pytest.mark.parametrize("task", demo_tasks(), ids=lambda task: task.name)


@cache
def made(task: DemoTask) -> DemoData:
    return generate(task)


@each_task
def test_the_parts_share_no_sentence(task: DemoTask) -> None:
    data = made(task)
    sentences = [e.text for part in (data.train, data.calibration, data.test) for e in part]
    assert len(set(sentences)) == len(sentences)
    assert (len(data.train), len(data.calibration), len(data.test)) == (1600, 128, 400)


@each_task
def test_every_label_has_its_share_of_every_part(task: DemoTask) -> None:
    data = made(task)
    for part in (data.train, data.calibration, data.test):
        counts = Counter(example.label for example in part)
        assert set(counts) == set(task.labels)
        assert max(counts.values()) - min(counts.values()) <= 1


@each_task
def test_test_sentences_come_from_templates_never_seen_before(task: DemoTask) -> None:
    recipe, data = recipe_of(task), made(task)
    held_out = {
        label: [pattern(template) for template in templates]
        for label, templates in recipe.held_out.items()
    }
    for example in (*data.train, *data.calibration):
        for patterns in held_out.values():
            assert not any(p.search(example.text) for p in patterns), example
    for example in data.test:
        assert any(p.search(example.text) for p in held_out[example.label or ""]), example


@each_task
def test_no_template_stands_twice(task: DemoTask) -> None:
    recipe = recipe_of(task)
    templates = [
        template
        for part in (recipe.seen, recipe.held_out)
        for of_label in part.values()
        for template in of_label
    ]
    assert [t for t, count in Counter(templates).items() if count > 1] == []


@each_task
def test_the_seed_decides_the_sentences(task: DemoTask) -> None:
    assert generate(task, 1) == generate(task, 1)
    assert generate(task, 1) != generate(task, 2)


@each_task
def test_tsv_gives_the_examples_back(task: DemoTask, tmp_path: Path) -> None:
    examples = made(task).test
    path = tmp_path / "test.tsv"
    write_tsv(examples, path)
    assert read_examples(path) == examples


@pytest.mark.parametrize("text", ["one\ttwo", "one\ntwo", "one\n", "one\r\ntwo"])
def test_tsv_refuses_a_field_that_would_break_a_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        write_tsv([Example(text, "label")], tmp_path / "test.tsv")
    assert not (tmp_path / "test.tsv").exists()


def test_a_task_from_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="no demonstration task 'weather'"):
        generate(DemoTask("weather", "Rain?", ("yes", "no")))
