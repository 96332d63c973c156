"""Sentences of people who wish to book, move or cancel something, and the facts in them.

The words are the same in all parts; templates of the test are held out of training.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BOOK, MOVE, CANCEL = "book", "move", "cancel"

# In English, with its article, and in German.
_THINGS = (
    ("a haircut", "Haarschnitt"),
    ("a massage", "Massage"),
    ("an eye test", "Sehtest"),
    ("a piano lesson", "Klavierstunde"),
    ("a swimming lesson", "Schwimmstunde"),
    ("a driving lesson", "Fahrstunde"),
    ("a dance class", "Tanzkurs"),
    ("a bike repair", "Fahrradreparatur"),
    ("a tyre change", "Reifenwechsel"),
    ("an oil change", "Ölwechsel"),
    ("a flu jab", "Grippeimpfung"),
    ("a photo session", "Fototermin"),
    ("a guided tour", "Führung"),
    ("a tennis court", "Tennisplatz"),
    ("a meeting room", "Besprechungsraum"),
    ("a cooking class", "Kochkurs"),
    ("a language test", "Sprachtest"),
    ("a house viewing", "Besichtigung"),
    ("a car wash", "Autowäsche"),
    ("a check-up", "Untersuchung"),
)
_PEOPLE = (
    *("Ana", "Ben", "Mia", "Tom", "Lena", "Max", "Clara", "Omar", "Paul", "Nora", "Ida", "Felix"),
    *("Greta", "Hugo", "Jana", "Karim", "Lotte", "Milan", "Olga", "Pia", "Rosa", "Sven", "Tess"),
)
_DAYS = (
    ("Monday", "Montag"),
    ("Tuesday", "Dienstag"),
    ("Wednesday", "Mittwoch"),
    ("Thursday", "Donnerstag"),
    ("Friday", "Freitag"),
    ("Saturday", "Samstag"),
)
_HOURS = ("eight", "nine", "ten", "eleven", "twelve", "one", "two", "three", "four", "five", "six")
_FIRST_HOUR = 8
_MINUTES = (0, 15, 30, 45)
_OPENERS = ("Hi,", "Hello,", "Good morning,", "Excuse me,", "One question:", "Hey,")


@dataclass(frozen=True)
class Clock:
    """A time of day, between eight in the morning and six in the evening."""

    hour: int
    minute: int

    def spoken(self, rng: random.Random) -> str:
        """The time in one of the ways that people say it."""
        number = (self.hour - 1) % 12 + 1
        am_or_pm = "am" if self.hour < 12 else "pm"
        word = _HOURS[self.hour - _FIRST_HOUR]
        past = {0: word, 15: f"quarter past {word}", 30: f"half past {word}"}
        if self.minute == 45:
            words = f"quarter to {_HOURS[self.hour + 1 - _FIRST_HOUR]}"
        else:
            words = past[self.minute]
        digits = f"{number}:{self.minute:02} {am_or_pm}" if self.minute else f"{number} {am_or_pm}"
        return rng.choice((words, digits))


@dataclass(frozen=True)
class Wish:
    """A sentence and the facts in it: what is to be done, with what, for whom, when.

    A wish to cancel has no `clock`. `thing`, with its article, and `day` are as English has them,
    `thing_in_german` and `day_in_german` as German has.
    """

    sentence: str
    verb: str
    thing: str
    thing_in_german: str
    who: str
    day: str
    day_in_german: str
    clock: Clock | None


@dataclass(frozen=True)
class Wishes:
    """Three parts that share no sentence; `test` also shares no template with the others."""

    train: tuple[Wish, ...]
    calibration: tuple[Wish, ...]
    test: tuple[Wish, ...]


# {thing} has its article, {what} has none; {before} is the day that is moved from.
_SEEN = {
    BOOK: (
        "please book {thing} for {who} on {day} at {time}",
        "could you book {thing} for {who} on {day} at {time}?",
        "{who} would like {thing} on {day} at {time}",
        "I need {thing} for {who}, {day} at {time}",
        "is there {thing} free for {who} on {day} at {time}?",
        "can {who} have {thing} at {time} on {day}?",
        "put {who} down for {thing} on {day} at {time}",
        "we want {thing} at {time} this {day}, the name is {who}",
        "on {day} at {time} {who} wants to come for {thing}",
        "{thing} for {who} please, {day}, {time}",
        "reserve {thing} in the name of {who} for {day}, {time}",
        "my friend {who} asks for {thing} on {day}, best at {time}",
        "at {time} on {day} I would like to have {thing} for {who}",
        "{who} needs {thing}, would {day} at {time} do?",
    ),
    MOVE: (
        "please move the {what} of {who} to {day} at {time}",
        "could you move {who}'s {what} from {before} to {day} at {time}?",
        "{who} cannot come on {before}, make the {what} {day} at {time}",
        "the {what} for {who} has to be later, {day} at {time} please",
        "can we shift {who}'s {what} to {time} on {day}?",
        "not {before} but {day} at {time} for the {what} of {who}",
        "{who} would rather have the {what} on {day} at {time} than on {before}",
        "change the {what} of {who} from {before} to {time} on {day}",
        "{before} is bad for {who}, so the {what} should be on {day} at {time}",
        "put off {who}'s {what} until {day}, {time}",
        "the {what} on {before}: {who} asks whether {day} at {time} is possible too",
        "I have to reschedule the {what} of {who}, {day} at {time} would be good",
        "instead of {before}, {who} will come for the {what} on {day} at {time}",
        "{who}'s {what} has to go from {before} to {day}, at {time}",
    ),
    CANCEL: (
        "please cancel the {what} of {who} on {day}",
        "{who} cannot come for the {what} on {day}",
        "I have to cancel {who}'s {what} this {day}",
        "could you take {who} off the list for the {what} on {day}?",
        "{who} does not need the {what} on {day} any more",
        "the {what} on {day} is off, {who} is ill",
        "we don't want the {what} for {who} on {day} after all",
        "sorry, no {what} for {who} this {day}",
        "forget the {what} that {who} has on {day}",
        "delete the {what} for {who}, it was on {day}",
        "{who} will not be there on {day} for the {what}",
        "on {day} {who} has a {what}, please call it off",
        "the {what} in the name of {who} on {day} can go",
        "{who} has changed plans and won't take the {what} on {day}",
    ),
}
_HELD_OUT = {
    BOOK: (
        "would {day} at {time} be fine for {thing}? It is for {who}",
        "{who} asked me to get {thing} for {day} at {time}",
        "can you fit in {thing} for {who}, at {time} on {day}?",
        "I'd like to sign {who} up for {thing}, {day} at {time}",
        "do you have {thing} on {day}? {who} can come at {time}",
    ),
    MOVE: (
        "is it possible to have {who}'s {what} on {day} at {time} instead of {before}?",
        "{who} has no time on {before}, could the {what} be on {day} at {time}?",
        "please make it {day} at {time} for {who}'s {what}, {before} does not work",
        "we have to postpone the {what} of {who} to {day} at {time}",
        "the {what} for {who} was on {before}, it should be on {day} at {time}",
    ),
    CANCEL: (
        "{who} has to call off the {what} on {day}",
        "there will be no {what} on {day}, {who} has other plans",
        "can you remove the {what} for {who} on {day}?",
        "{who} is not coming to the {what} this {day}",
        "I want to cancel the {what} on {day}, it is in the name of {who}",
    ),
}
VERBS = tuple(_SEEN)


def make_wishes(train: int, calibration: int, test: int, seed: int = 0) -> Wishes:
    """Makes so many wishes for each part, the same ones for the same seed, each verb as often."""
    rng = random.Random(f"wishes {seed}")
    used: set[str] = set()
    return Wishes(
        _part(_SEEN, train, used, rng),
        _part(_SEEN, calibration, used, rng),
        _part(_HELD_OUT, test, used, rng),
    )


def templates(*, held_out: bool) -> Iterable[str]:
    """The templates of the test, or those of training and calibration."""
    return [one for of_verb in (_HELD_OUT if held_out else _SEEN).values() for one in of_verb]


def _part(
    sentences: Mapping[str, tuple[str, ...]], size: int, used: set[str], rng: random.Random
) -> tuple[Wish, ...]:
    """Draws wishes whose sentences are not yet in `used`, going round verbs and templates."""
    wishes: list[Wish] = []
    while len(wishes) < size:
        verb = VERBS[len(wishes) % len(VERBS)]
        choices = sentences[verb]
        wish = _wish(verb, choices[len(wishes) // len(VERBS) % len(choices)], rng)
        if wish.sentence not in used:
            used.add(wish.sentence)
            wishes.append(wish)
    rng.shuffle(wishes)
    return tuple(wishes)


def _wish(verb: str, template: str, rng: random.Random) -> Wish:
    thing, in_german = rng.choice(_THINGS)
    (day, day_in_german), (before, _) = rng.sample(_DAYS, 2)
    clock = Clock(rng.randrange(_FIRST_HOUR, _FIRST_HOUR + len(_HOURS) - 1), rng.choice(_MINUTES))
    who = rng.choice(_PEOPLE)
    words = {"thing": thing, "what": thing.partition(" ")[2], "who": who}
    words |= {"day": day, "before": before, "time": clock.spoken(rng)}
    text = template.format_map(words)
    if rng.random() < 1 / 3:
        text = f"{rng.choice(_OPENERS)} {text}"
    return Wish(
        text[0].upper() + text[1:],
        *(verb, thing, in_german, who, day, day_in_german),
        None if verb == CANCEL else clock,
    )
