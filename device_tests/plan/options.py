"""An option of a measurement: how a field of `Plan` is given on a command line, and its bounds."""

import re
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal

from osd_edge.data.arguments import as_path, as_paths, described, expect
from osd_edge.device_tests.plan.scenarios import SCENARIOS
from osd_edge.errors import Code, InputError

OptionKind = Literal["whole", "number", "text", "path", "processors", "scenarios"]

_METAVARS: dict[OptionKind, str] = {
    "whole": "N",
    "number": "N",
    "text": "TEXT",
    "path": "DIR",
    "processors": "CPU,…",
    "scenarios": "LIST",
}
_MOST_PROCESSORS = 4096


@dataclass(frozen=True)
class Option:
    """One option: its field of `Plan`, its words on a command line, what it may be.

    A `subject` names what is measured; a `setting` says how, and stands in the report; a
    `machine` option holds on this machine alone; a `driver` one is for drivers, not for people.
    A number is from `least` to `most`, a guard that nobody comes near, so help does not name it;
    without one any number will do. `most_typed` is the most that `osd-edge bench` takes, and its
    help names. `quick` is the value in a quick run, None where that is the usual one. An option
    `in_schema` is one that the schema of a report has rules for; a report may have others, as it
    pleases.
    """

    help: str
    kind: OptionKind
    metavar: str
    role: Literal["subject", "setting", "machine", "driver"] = "setting"
    flag: str = ""
    repeated: bool = False
    least: int = 0
    most: int | None = None
    most_typed: int | None = None
    quick: float | None = None
    in_schema: bool = False
    name: str = ""
    default: Any = None

    @property
    def is_number(self) -> bool:
        """Tells whether the value has bounds."""
        return self.kind in ("whole", "number")

    @property
    def unset(self) -> Any:
        """The default as a command line gives it: None for an empty list, which has no words."""
        return None if self.default == () else self.default

    def typed(self, value: Any) -> Any:
        """Returns `value` as the field holds it: a path as Path, several values as a tuple.

        Raises InputError `input.path`, `input.number`, `input.pin`, `input.scenario`, `input.type`
        for a value of another type.
        """
        if value is None and self.default is None:
            return None
        if self.kind == "path":
            return as_paths(value, self.name) if self.repeated else as_path(value, self.name)
        if self.kind in ("scenarios", "processors"):
            return self._listed(value)
        if self.is_number:
            return self._number(value)
        return expect(value, str, self.name)

    def _number(self, value: Any) -> Any:
        """A number of the right type; `check` holds it to its bounds."""
        kind = Integral if self.kind == "whole" else Real
        if not isinstance(value, kind) or isinstance(value, bool):
            words = "a whole number" if self.kind == "whole" else "a number"
            raise InputError(
                Code.INPUT_NUMBER, f"{self.name}: expected {words}, found {described(value)}"
            )
        return value

    def _listed(self, value: Any) -> tuple[Any, ...]:
        kind, code = {
            "scenarios": (str, Code.INPUT_SCENARIO),
            "processors": (int, Code.INPUT_PIN),
        }[self.kind]
        if not isinstance(value, tuple | list) or not all(type(one) is kind for one in value):
            raise InputError(
                code, f"{self.name}: expected a list of {kind.__name__}, found {described(value)}"
            )
        return tuple(value)

    def check(self, value: Any) -> None:
        """Raises InputError `input.number` where a number is out of bounds."""
        if not self.is_number:
            return
        # NaN is not within any bounds.
        within = value >= self.least and (self.most is None or value <= self.most)
        if not within:
            bounds = (
                f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"
            )
            raise InputError(Code.INPUT_NUMBER, f"{self.name}: expected {bounds}, found {value}")

    def parse(self, given: Any) -> Any:
        """Returns the field's value for what a command line gives: lists come as text."""
        if self.kind == "scenarios":
            return scenario_list(given or "")
        if self.kind == "processors":
            return () if given is None else processor_list(given)
        return tuple(given or ()) if self.repeated else given

    def words(self, value: Any) -> list[str]:
        """Makes the command line's words for `value`: none where there is no value."""
        if value is None or value == ():
            return []
        if self.repeated:
            return [word for item in value for word in (self.flag, str(item))]
        return [self.flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]


def option(text: str, kind: OptionKind, **more: Any) -> dict[str, Option]:
    """Makes the metadata of a field of `Plan` that is an option with the help `text`."""
    return {"option": Option(text, kind, **{"metavar": _METAVARS[kind], **more})}


def options_of(plan: type[Any]) -> tuple[Option, ...]:
    """Lists the options of a dataclass's fields, in their order, with names, flags and defaults."""
    return tuple(
        replace(
            (described := entry.metadata["option"]),
            name=entry.name,
            flag=described.flag or f"--{entry.name.replace('_', '-')}",
            default=entry.default,
        )
        for entry in fields(plan)
    )


def scenario_list(text: str) -> tuple[str, ...]:
    """Parses ids in `a,b`; an empty text has none. Raises InputError `input.scenario`."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if text and not found:
        raise InputError(Code.INPUT_SCENARIO, f"expected ids as base,swap, found {text[:40]!r}")
    return found


def check_scenarios(ids: tuple[str, ...]) -> None:
    """Raises InputError `input.scenario` where there is no scenario of one of the ids."""
    known = [scenario.id for scenario in SCENARIOS]
    for name in ids:
        if name not in known:
            raise InputError(
                Code.INPUT_SCENARIO, f"no scenario {name[:40]!r}; there are: {', '.join(known)}"
            )


def processor_list(text: str) -> tuple[int, ...]:
    """Parses processors in `0,2-3`. Raises InputError `input.pin`."""
    found: list[int] = []
    for word in text.split(","):
        first, dash, last = word.strip().partition("-")
        ends = [end for end in (first, last if dash else first) if re.fullmatch("[0-9]{1,4}", end)]
        if len(ends) < 2 or not int(ends[0]) <= int(ends[1]) < _MOST_PROCESSORS:
            raise InputError(
                Code.INPUT_PIN, f"expected processors such as 0,2-3, found {text[:40]!r}"
            )
        found += range(int(ends[0]), int(ends[1]) + 1)
    return tuple(sorted(set(found)))
