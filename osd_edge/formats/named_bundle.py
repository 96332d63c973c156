"""A bundle's file as people give it: `FILE`, or `NAME=FILE` to call its task by another name."""

from dataclasses import dataclass
from pathlib import Path

from osd_edge.data.files import kind_at
from osd_edge.errors import Code, InputError, shown
from osd_edge.formats.limits import TASK_NAME

RENAME = "give one another name with --bundle NAME=FILE"
_SHOWN = 200


@dataclass(frozen=True)
class NamedBundle:
    """The file of a task bundle, and the name to load its task by: None for the task's own."""

    path: Path
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuses (`input.task-name`) a name that is none of a task: files are named by it."""
        if self.name is None:
            return
        if not isinstance(self.name, str) or not TASK_NAME.fullmatch(self.name):
            raise InputError(
                Code.INPUT_TASK_NAME,
                f"{shown(str(self.path), _SHOWN)}: expected a task name of up to 64 letters, "
                f"digits, '.', '_' or '-' for it, found {shown(repr(self.name))}",
            )


def named_bundle(given: str | Path) -> NamedBundle:
    """Reads `FILE` or `NAME=FILE`; a file that is there and whose own name has a `=` is a FILE.

    Raises InputError `input.task-name` where what stands before a file that is there names no task.
    """
    name, equals, file = str(given).partition("=")
    if not equals or not file or kind_at(Path(given)) is not None:
        return NamedBundle(Path(given))
    if TASK_NAME.fullmatch(name) or kind_at(Path(file)) is not None:
        return NamedBundle(Path(file), name)
    return NamedBundle(Path(given))


def of_one_name(name: str, first: str | Path, second: str | Path) -> str:
    """Words that two files have tasks of one name; what to do about it is for the caller to say."""
    return f"{shown(str(first), _SHOWN)} and {shown(str(second), _SHOWN)} both have a task {name!r}"
