"""Every way OSD Edge refuses: one exception tree, one stable code for each reason.

* OsdEdgeError
  * BundleError: a task bundle that cannot be trusted or does not fit
  * BaseError: a base package that is damaged, incomplete or of another kind
  * ModelError: a checkpoint that cannot be exported
  * DataError: a calibration or test file that cannot be used
    * ReportError: a report of a measurement that breaks a rule
  * BudgetError: a size that cannot be met
  * TaskError: a task name that a session does not know, or already has
  * InputError: arguments or run inputs of the wrong kind
  * OutputError: a file that could not be written
  * DeviceError: a device that cannot be reached, or cannot run this

A message says what was expected, what was found and what to do. The codes are in `codes`.
"""

from typing import ClassVar

from osd_edge.errors.codes import Code

__all__ = [
    "BaseError",
    "BudgetError",
    "BundleError",
    "Code",
    "DataError",
    "DeviceError",
    "InputError",
    "ModelError",
    "OsdEdgeError",
    "OutputError",
    "ReportError",
    "TaskError",
    "refusal_of",
    "shown",
]


def shown(text: str, length: int = 80) -> str:
    """Text from a file or another program, fit for a message: one line, cut, no control codes.

    A file may come from anywhere, and a terminal obeys escape sequences that it is shown.
    """
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


class OsdEdgeError(Exception):
    """The base of all refusals. `code` is stable, for programs; the message is for people.

    >>> try:
    ...     raise InputError(Code.INPUT_SIZE, "expected a size such as 16KiB, found 'x'")
    ... except OsdEdgeError as error:
    ...     print(error.code, "-", error)
    input.size - expected a size such as 16KiB, found 'x'
    """

    kind: ClassVar[str] = ""  # of the codes that the class carries

    def __init__(self, code: Code, message: str) -> None:
        """Take a member of the table of codes, of the class's own kind, and a message."""
        assert code.kind == self.kind, f"{type(self).__name__} does not carry {code}"
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type["OsdEdgeError"], tuple[Code, str]]:
        """Rebuild the error in another process, such as the caller of a worker."""
        return type(self), (self.code, str(self))


class BundleError(OsdEdgeError):
    """A task bundle is damaged, of an unknown version, or of another base."""

    kind = "bundle"


class BaseError(OsdEdgeError):
    """A base package is damaged, incomplete or of an unknown version."""

    kind = "base"


class ModelError(OsdEdgeError):
    """A base or fine-tuned checkpoint cannot be exported."""

    kind = "model"


class DataError(OsdEdgeError):
    """A calibration or test file cannot be used."""

    kind = "data"


class ReportError(DataError):
    """A report of a measurement cannot be read, or breaks a rule of its schema."""

    kind = "report"


class BudgetError(OsdEdgeError):
    """A budget is malformed or too small."""

    kind = "budget"


class TaskError(OsdEdgeError):
    """A task name is unknown to the session, or already taken."""

    kind = "task"


class InputError(OsdEdgeError):
    """An argument or a run input has the wrong kind or shape."""

    kind = "input"


class OutputError(OsdEdgeError):
    """A file or folder could not be written."""

    kind = "output"


class DeviceError(OsdEdgeError):
    """A device cannot be reached, built or used."""

    kind = "device"


def refusal_of(code: str, message: str) -> OsdEdgeError:
    """Builds the refusal that another process or device tells of, of the class its code belongs to.

    A code that this release does not know becomes `device.answer`, with that code in the message.

    >>> type(refusal_of("bundle.base", "made for another base")).__name__
    'BundleError'
    """
    known = next((member for member in Code if member == code), None)
    if known is None:
        return DeviceError(Code.DEVICE_ANSWER, f"{message} [{shown(code, 64)}]")
    classes: list[type[OsdEdgeError]] = [*OsdEdgeError.__subclasses__(), ReportError]
    return next(cls for cls in classes if cls.kind == known.kind)(known, message)
