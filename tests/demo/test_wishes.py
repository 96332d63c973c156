"""The sentences of the tasks that write: parts that share nothing, and answers that follow."""

import json
import re
from collections import Counter

import pytest

from osd_edge.exporters.demo.writing.tasks import FORM, WRITING_TASKS, Written, json_lines
from osd_edge.exporters.demo.writing.wishes import (
    CANCEL,
    MOVE,
    VERBS,
    Clock,
    Wish,
    Wishes,
    make_wishes,
    templates,
)

SLOTS, REPLY, GERMAN = WRITING_TASKS


@pytest.fixture(scope="module")
def made() -> Wishes:
    return make_wishes(1600, 256, 60)


def _pattern(template: str) -> re.Pattern[str]:
    """A pattern of the end of every sentence that is made of the template."""
    parts = re.split(r"\{\w+\}", template)
    return re.compile(".+".join(map(re.escape, parts)) + "$", re.IGNORECASE)


def test_the_parts_share_no_sentence_and_have_each_verb_as_often(made: Wishes) -> None:
    parts = (made.train, made.calibration, made.test)
    assert [len(part) for part in parts] == [1600, 256, 60]
    sentences = [wish.sentence for part in parts for wish in part]
    assert len(set(sentences)) == len(sentences)
    for part in parts:
        counts = Counter(wish.verb for wish in part)
        assert set(counts) == set(VERBS) and max(counts.values()) - min(counts.values()) <= 1


def test_the_test_is_of_templates_that_no_training_saw(made: Wishes) -> None:
    unseen = [_pattern(one) for one in templates(held_out=True)]
    assert not set(templates(held_out=True)) & set(templates(held_out=False))
    for wish in (*made.train, *made.calibration):
        assert not any(pattern.search(wish.sentence) for pattern in unseen), wish
    for wish in made.test:
        assert any(pattern.search(wish.sentence) for pattern in unseen), wish


def test_the_seed_decides_the_sentences(made: Wishes) -> None:
    assert make_wishes(30, 6, 6, 1) == make_wishes(30, 6, 6, 1) != make_wishes(30, 6, 6, 2)


def test_facts_stand_in_their_sentence(made: Wishes) -> None:
    for wish in made.train:
        for fact in (wish.who, wish.day, wish.thing.partition(" ")[2]):
            assert fact.lower() in wish.sentence.lower(), wish
        assert (wish.clock is None) == (wish.verb == CANCEL)
        assert "{" not in wish.sentence


def test_a_moved_wish_may_name_the_day_that_it_leaves(made: Wishes) -> None:
    days = {wish.day for wish in made.train}
    moved = [wish for wish in made.train if wish.verb == MOVE]
    named = [sum(day in wish.sentence for day in days) for wish in moved]
    assert set(named) == {1, 2}  # so that the day is not just the one that stands there


@pytest.mark.parametrize(
    ("wish", "answers"),
    [
        (
            Wish("…", "book", "an eye test", "Sehtest", "Ida", "Friday", "Freitag", Clock(14, 30)),
            (
                '{"do":"book","what":"eye test","who":"Ida","day":"Friday","time":"14:30"}',
                "Certainly, an eye test for Ida on Friday at 2:30 pm. See you then!",
                "Freitag, 14.30 Uhr: Sehtest für Ida",
            ),
        ),
        (
            Wish("…", "move", "a haircut", "Haarschnitt", "Max", "Monday", "Montag", Clock(9, 0)),
            (
                '{"do":"move","what":"haircut","who":"Max","day":"Monday","time":"09:00"}',
                "No problem, the haircut for Max is now on Monday at 9 am.",
                "Verlegt auf Montag, 9 Uhr: Haarschnitt für Max",
            ),
        ),
        (
            Wish("…", "cancel", "a massage", "Massage", "Pia", "Tuesday", "Dienstag", None),
            (
                '{"do":"cancel","what":"massage","who":"Pia","day":"Tuesday"}',
                "All right, the massage for Pia on Tuesday is cancelled.",
                "Abgesagt am Dienstag: Massage für Pia",
            ),
        ),
    ],
    ids=VERBS,
)
def test_one_sentence_has_three_answers(wish: Wish, answers: tuple[str, ...]) -> None:
    assert tuple(task.answer(wish) for task in WRITING_TASKS) == answers


@pytest.mark.parametrize(
    ("clock", "spoken"),
    [
        (Clock(8, 0), ("eight", "8 am")),
        (Clock(12, 15), ("quarter past twelve", "12:15 pm")),
        (Clock(12, 45), ("quarter to one", "12:45 pm")),
        (Clock(17, 30), ("half past five", "5:30 pm")),
    ],
    ids=str,
)
def test_a_time_is_said_as_people_say_it(clock: Clock, spoken: tuple[str, str]) -> None:
    import random

    assert {clock.spoken(random.Random(seed)) for seed in range(20)} == set(spoken)


def test_rows_are_lines_of_a_calibration_file(made: Wishes) -> None:
    rows = GERMAN.rows(made.test[:2])
    assert rows[0].prompt == FORM.replace("{}", made.test[0].sentence)
    lines = json_lines(rows).decode().splitlines()
    assert [Written(**json.loads(line)) for line in lines] == rows
    assert REPLY.rows(made.test)[0].prompt == SLOTS.rows(made.test)[0].prompt
