"""A task's probe, the metadata value `osd.probe`: a few inputs with the answers they must give."""

import math
from dataclasses import dataclass
from typing import Any

from osd_edge.errors import BundleError, Code
from osd_edge.formats.bundle.text import MAX_TOKENS
from osd_edge.formats.kinds import TaskKind
from osd_edge.formats.limits import MAX_DIMENSION

MAX_CASES = 16
_INPUTS = ("text", "ids", "seed")


@dataclass(frozen=True)
class ProbeCase:
    """One input of a probe, and what it must give.

    Attributes:
        text: A text, with its `pair` where the task takes two; or None.
        pair: The second text, or None.
        ids: Token ids of an input without padding, or None.
        seed: The number from which the format draws a picture, or None.
        logits: The first logits, row by row, that the input gives, or None.
        tokens: The first tokens that a task that writes text gives, the likeliest each; or None.

    >>> from osd_edge import ProbeCase
    >>> ProbeCase(ids=(2, 5, 3), logits=(2.5, -2.5)).text is None
    True
    """

    text: str | None = None
    pair: str | None = None
    ids: tuple[int, ...] | None = None
    seed: int | None = None
    logits: tuple[float, ...] | None = None
    tokens: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Probe:
    """Inputs with expected answers, which show that a task has the effect it was made for.

    Attributes:
        tolerance: How far a logit may be off: by `tolerance` · max(1, |logit|).
        cases: The inputs and their answers.

    >>> from osd_edge import Probe, ProbeCase
    >>> Probe(0.01, (ProbeCase(text="a dull film", logits=(2.5, -2.5)),)).cases[0].pair is None
    True
    """

    tolerance: float
    cases: tuple[ProbeCase, ...]

    def described(self) -> dict[str, Any]:
        """Gives the object that `osd.probe` holds."""
        cases = [
            {
                k: list(x) if isinstance(x, tuple) else x
                for k, x in vars(case).items()
                if x is not None
            }
            for case in self.cases
        ]
        return {"tolerance": self.tolerance, "cases": cases}


def read_probe(given: object, kind: TaskKind, outputs: int) -> Probe:
    """Checks what `osd.probe` holds, of a task of `kind` with `outputs` logits (0: any number).

    Raises BundleError `bundle.probe`.
    """
    if not isinstance(given, dict) or set(given) != {"tolerance", "cases"}:
        raise _malformed("expected a tolerance and cases")
    tolerance, cases = given["tolerance"], given["cases"]
    if not _is_number(tolerance) or not 0 < tolerance <= 1:
        raise _malformed("its tolerance")
    if not isinstance(cases, list) or not 1 <= len(cases) <= MAX_CASES:
        raise _malformed(f"expected 1 to {MAX_CASES} cases")
    return Probe(tolerance, tuple(_case(case, kind, outputs) for case in cases))


def _case(given: object, kind: TaskKind, outputs: int) -> ProbeCase:
    answer = "tokens" if kind.writes else "logits"
    if not isinstance(given, dict):
        raise _malformed("a case")
    inputs = [key for key in _INPUTS if key in given]
    pair = {"pair"} & set(given) if inputs == ["text"] else set()
    if len(inputs) != 1 or set(given) != {answer, *inputs, *pair}:
        raise _malformed("a case's keys")
    for key, value in given.items():
        if key in ("text", "pair"):
            fits = isinstance(value, str)
        elif key == "seed":
            fits = _is_whole(value, MAX_DIMENSION)
        elif key in ("ids", "tokens"):
            fits = _is_list(value) and all(_is_whole(x, MAX_TOKENS) for x in value)
        else:
            most = MAX_DIMENSION if kind.per_token or not outputs else outputs
            fits = _is_list(value) and len(value) <= most and all(map(_is_number, value))
        if not fits:
            raise _malformed(f"a case's {key}")
    fields: dict[str, Any] = {k: tuple(x) if isinstance(x, list) else x for k, x in given.items()}
    return ProbeCase(**fields)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= MAX_DIMENSION


def _is_whole(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _malformed(what: str) -> BundleError:
    return BundleError(Code.BUNDLE_PROBE, f"osd.probe is malformed: {what}")
