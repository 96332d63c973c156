"""Generated messages for a tagger and a span finder; the test has other forms than the training.

A tagged message has spans of people, places and times. A question is asked of a few facts in a
row, one of which answers it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

PERSON, PLACE, TIME = "PERSON", "PLACE", "TIME"
TAGS = ("O", *(f"{prefix}-{tag}" for tag in (PERSON, PLACE, TIME) for prefix in "BI"))

_FIRST = (
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Elena",
    "Farid",
    "Grace",
    "Hugo",
    "Ines",
    "Keiko",
    "Noah",
)
_LAST = ("Adler", "Brooks", "Costa", "Dvorak", "Evans", "Garcia", "Haddad", "Ito", "Jensen", "Lang")
_PLACES = (
    "Vienna",
    "Lisbon",
    "Oslo",
    "Nairobi",
    "Kyoto",
    "Lima",
    "New Delhi",
    "Cape Town",
    "Quebec",
    "the town hall",
    "the old library",
    "the main station",
    "the blue cafe",
    "the school gym",
)
_TIMES = (
    "on Monday",
    "on Friday at noon",
    "tomorrow morning",
    "at half past six",
    "next week",
    "on the third of May",
    "in two hours",
    "tonight at nine",
    "on Sunday evening",
    "at dawn",
)
_SEEN = (
    "{person} arrives in {place} {time}",
    "please meet {person} at {place} {time}",
    "the parcel for {person} waits in {place}",
    "{time} we go to {place} with {person}",
    "call {person} {time}, it is about the keys",
    "is {person} still in {place}?",
    "{person} and {other} have moved to {place}",
    "nothing to do {time}, {person} has cancelled",
    "can you be in {place} {time}? {person} asks",
    "I saw {person} near {place}",
)
_HELD_OUT = (
    "tell {person} that the bus to {place} leaves {time}",
    "{place} is too far for {person}",
    "{other} told me: {person} wants to meet {time} in {place}",
    "who picks up {person} {time}?",
)
_FACTS = {  # a fact, and questions to which its slot in brackets is the answer
    "{person} lives in [{place}].": (
        "Where does {person} live?",
        "In what place is {person}'s home?",
    ),
    "{person} will call [{time}].": (
        "When does {person} call?",
        "At what time will {person} call?",
    ),
    "The keys of {place} are with [{person}].": (
        "Who has the keys of {place}?",
        "With whom are the keys of {place}?",
    ),
    "The party in {place} begins [{time}].": (
        "When does the party in {place} begin?",
        "At what time is the party in {place}?",
    ),
    "[{person}] repairs the roof of {place}.": (
        "Who repairs the roof of {place}?",
        "By whom is the roof of {place} repaired?",
    ),
}


@dataclass(frozen=True)
class Tagged:
    """A message and its spans: first character, the one after the last, tag."""

    text: str
    spans: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Asked:
    """A question, a context, and where in it the answer stands."""

    question: str
    context: str
    start: int
    end: int

    @property
    def answer(self) -> str:
        """The answer's text."""
        return self.context[self.start : self.end]


def tagged(count: int, seed: int, *, held_out: bool = False) -> list[Tagged]:
    """`count` messages; other forms where `held_out`."""
    rng = random.Random(f"tagged {seed} {held_out}")
    return [_message(rng.choice(_HELD_OUT if held_out else _SEEN), rng) for _ in range(count)]


def asked(count: int, seed: int, *, held_out: bool = False) -> list[Asked]:
    """`count` questions over three to six facts; questions in other words where `held_out`."""
    rng = random.Random(f"asked {seed} {held_out}")
    return [_question(rng, int(held_out)) for _ in range(count)]


def _words(rng: random.Random) -> dict[str, str]:
    people = [f"{rng.choice(_FIRST)} {rng.choice(_LAST)}", rng.choice(_FIRST)]
    rng.shuffle(people)
    return {
        "person": people[0],
        "other": people[1],
        "place": rng.choice(_PLACES),
        "time": rng.choice(_TIMES),
    }


def _message(form: str, rng: random.Random) -> Tagged:
    words = _words(rng)
    kinds = {"person": PERSON, "other": PERSON, "place": PLACE, "time": TIME}
    text, spans = "", []
    for piece in form.replace("{", "\0{").replace("}", "}\0").split("\0"):
        slot = piece.strip("{}")
        if piece.startswith("{"):
            spans.append((len(text), len(text) + len(words[slot]), kinds[slot]))
        text += words[slot] if piece.startswith("{") else piece
    return Tagged(text, tuple(spans))


def _question(rng: random.Random, wording: int) -> Asked:
    facts = rng.sample([*_FACTS], rng.randint(3, len(_FACTS)))
    wanted = rng.randrange(len(facts))
    context, question, start, end = "", "", 0, 0
    for i, fact in enumerate(facts):
        words = _words(rng)
        before, inside, after = (part.format(**words) for part in _parts(fact))
        if i == wanted:
            question = _FACTS[fact][wording].format(**words)
            start = len(context) + len(before)
            end = start + len(inside)
        context += f"{before}{inside}{after} "
    return Asked(question, context.strip(), start, end)


def _parts(fact: str) -> Sequence[str]:
    before, rest = fact.split("[")
    inside, after = rest.split("]")
    return before, inside, after
