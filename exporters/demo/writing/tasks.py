"""Three tasks over the same sentences: the facts as JSON, a polite reply, a note in German."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from osd_edge.exporters.demo.writing.wishes import BOOK, MOVE, Clock, Wish

# The form of a prompt, {} being the sentence: a user's message without a system's before it, in the
# words of ChatML, which the base was taught.
FORM = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class WritingTask:
    """A task by its name, with what it does in words and the right answer to a wish."""

    name: str
    does: str
    answer: Callable[[Wish], str]

    def rows(self, wishes: Sequence[Wish]) -> list["Written"]:
        """A prompt and its answer for each wish."""
        return [Written(FORM.replace("{}", wish.sentence), self.answer(wish)) for wish in wishes]


@dataclass(frozen=True)
class Written:
    """A prompt and the answer that is to be written to it."""

    prompt: str
    completion: str


def json_lines(rows: Sequence[Written]) -> bytes:
    """Rows as a calibration file has them."""
    lines = ({"prompt": row.prompt, "completion": row.completion} for row in rows)
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()


def _slots(wish: Wish) -> str:
    facts = {"do": wish.verb, "what": _bare(wish), "who": wish.who, "day": wish.day}
    if wish.clock is not None:
        facts["time"] = f"{wish.clock.hour:02}:{wish.clock.minute:02}"
    return json.dumps(facts, separators=(",", ":"))


def _reply(wish: Wish) -> str:
    if wish.clock is None:
        return f"All right, the {_bare(wish)} for {wish.who} on {wish.day} is cancelled."
    when = f"on {wish.day} at {_in_english(wish.clock)}"
    if wish.verb == BOOK:
        return f"Certainly, {wish.thing} for {wish.who} {when}. See you then!"
    return f"No problem, the {_bare(wish)} for {wish.who} is now {when}."


def _german(wish: Wish) -> str:
    for_whom = f"{wish.thing_in_german} für {wish.who}"
    if wish.clock is None:
        return f"Abgesagt am {wish.day_in_german}: {for_whom}"
    when = f"{wish.day_in_german}, {_in_german(wish.clock)}"
    return f"Verlegt auf {when}: {for_whom}" if wish.verb == MOVE else f"{when}: {for_whom}"


def _bare(wish: Wish) -> str:
    return wish.thing.partition(" ")[2]


def _in_english(clock: Clock) -> str:
    minutes = f":{clock.minute:02}" if clock.minute else ""
    return f"{(clock.hour - 1) % 12 + 1}{minutes} {'am' if clock.hour < 12 else 'pm'}"


def _in_german(clock: Clock) -> str:
    minutes = f".{clock.minute:02}" if clock.minute else ""
    return f"{clock.hour}{minutes} Uhr"


WRITING_TASKS = (
    WritingTask("slots", "the facts as JSON", _slots),
    WritingTask("reply", "a polite reply", _reply),
    WritingTask("german", "a note in German", _german),
)
