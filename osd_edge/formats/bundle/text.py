"""A task's own text settings, the metadata value `osd.text`: how its texts become tokens."""

from dataclasses import dataclass
from typing import Any, Literal

from osd_edge.errors import BundleError, Code
from osd_edge.formats.kinds import TaskKind

MAX_TOKENS = (1 << 31) - 1
MAX_PROMPT = 4096  # characters, which are tokenized with every text, of a task that is run
SIDES = ("left", "right")
_KEYS = {"max_length", "truncation", "prompt"}


@dataclass(frozen=True)
class TaskText:
    """The settings that a task's texts need, each None where the base's own holds.

    Attributes:
        max_length: The most tokens of a text, or of a window of it.
        truncation: The side on which a longer text is cut, `left` or `right`.
        prompt: Text that is put before every first text.

    >>> from osd_edge import TaskText
    >>> TaskText(max_length=256, prompt="query: ").truncation is None
    True
    """

    max_length: int | None = None
    truncation: Literal["left", "right"] | None = None
    prompt: str | None = None

    def described(self) -> dict[str, Any]:
        """Gives the object that `osd.text` holds: the settings that are there."""
        return {key: value for key, value in vars(self).items() if value is not None}


def read_text(given: object, kind: TaskKind) -> TaskText:
    """Checks what `osd.text` holds, of a task of `kind`.

    Raises BundleError `bundle.text`; `bundle.key-unknown` for a setting of a later release.
    """
    if not isinstance(given, dict):
        raise _malformed("it is no object")
    for key in given:
        if key not in _KEYS:
            raise BundleError(
                Code.BUNDLE_KEY_UNKNOWN,
                f"osd.text has {key[:80]!r}, which this release does not know: update osd-edge",
            )
    if not given:
        raise _malformed("it sets nothing")
    for key, value in given.items():
        if key == "max_length":
            fits = type(value) is int and 1 <= value <= MAX_TOKENS
        elif key == "truncation":
            fits = isinstance(value, str) and value in SIDES
        else:  # what is put before a text would move the parts of it that a task finds
            fits = isinstance(value, str) and value != "" and not kind.per_token
        if not fits:
            raise _malformed(key)
    return TaskText(**given)


def _malformed(what: str) -> BundleError:
    return BundleError(Code.BUNDLE_TEXT, f"osd.text is malformed: {what}")
