"""Reads the fields of a request's body, and refuses those that would change the answer unheard."""

from collections.abc import Collection, Mapping
from typing import Any

from osd_edge.data.arguments import described
from osd_edge.errors import ApiError, Code, shown


class BodyFields:
    """The fields of a body, each of which is taken once; `end` refuses what nobody took.

    A field that is null is as good as left out.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        """Takes a body."""
        self._left = {name: value for name, value in body.items() if value is not None}

    def take(self, name: str, otherwise: Any = None) -> Any:
        """Takes a field of any type, or what it is otherwise."""
        return self._left.pop(name, otherwise)

    def needed(self, name: str) -> Any:
        """Takes a field of any type that must be there. Raises ApiError `api.field`."""
        if name not in self._left:
            raise field_refused(name, "expected this field, found none")
        return self._left.pop(name)

    def text(self, name: str) -> str:
        """Takes a text that must be there. Raises ApiError `api.field`."""
        value = self.needed(name)
        if not isinstance(value, str):
            raise field_refused(name, f"expected a text, found {described(value)}")
        return value

    def flag(self, name: str) -> bool:
        """Takes a flag, false where it is left out. Raises ApiError `api.field`."""
        value = self.take(name, otherwise=False)
        if not isinstance(value, bool):
            raise field_refused(name, f"expected true or false, found {described(value)}")
        return value

    def whole(self, name: str, otherwise: int, most: int) -> int:
        """Takes a whole number from 1 to `most`. Raises ApiError `api.field`."""
        value = self.take(name, otherwise)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise field_refused(
                name, f"expected a whole number from 1 to {most}, found {described(value)}"
            )
        return value

    def texts(self, name: str, most: int) -> list[str]:
        """Takes a text, or up to `most` of them. Raises ApiError `api.field`."""
        value = self.needed(name)
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise field_refused(name, "expected a text, or a list of texts")
        if not 1 <= len(texts) <= most:
            raise field_refused(name, f"expected 1 to {most} texts, found {len(texts)}")
        return texts

    def neutral(self, known: Mapping[str, Collection[Any]]) -> None:
        """Takes fields that are not supported, and refuses (`api.field`) all but these values."""
        for name, values in known.items():
            value = self._left.pop(name, None)
            if value is not None and not any(_same(value, one) for one in values):
                raise field_refused(name, "not supported here: leave it out")

    def ignore(self, *names: str) -> None:
        """Takes fields that change no answer."""
        for name in names:
            self._left.pop(name, None)

    def end(self) -> None:
        """Refuses (`api.field`) what is left."""
        for name in self._left:
            raise field_refused(shown(name, 40), "not known here: leave it out")


def field_refused(name: str, why: str) -> ApiError:
    """The refusal of a field."""
    return ApiError(Code.API_FIELD, f"{name}: {why}")


def _same(value: object, other: object) -> bool:
    # True is 1 for Python, and not for JSON.
    return value == other and isinstance(value, bool) == isinstance(other, bool)
