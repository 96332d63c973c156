"""Every way OSD Edge refuses: one exception tree, one stable code for each reason.

* OsdEdgeError
  * BundleError: a task bundle that cannot be trusted or does not fit
  * BaseError: a base package that is damaged, incomplete or of another kind
  * ModelError: a checkpoint that cannot be exported
  * DataError: a calibration or test file that cannot be used
  * BudgetError: a size that cannot be met
  * TaskError: a task name that a session does not know, or already has
  * InputError: arguments or run inputs of the wrong kind
  * OutputError: a file that could not be written
  * DeviceError: a device that cannot be reached, or cannot run this

A message says what was expected, what was found and what to do. A code never changes its
meaning; programs and runtimes in other languages may rely on it.
"""


def shown(text: str, length: int = 80) -> str:
    """Text from a file or another program, fit for a message: one line, cut, no control codes.

    A file may come from anywhere, and a terminal obeys escape sequences that it is shown.
    """
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


class OsdEdgeError(Exception):
    """Base of all refusals. `code` is stable, for programs; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type["OsdEdgeError"], tuple[str, str]]:
        """For its way from a worker's process to the caller's."""
        return type(self), (self.code, str(self))


class BundleError(OsdEdgeError):
    """A task bundle is damaged, of an unknown version, or of another base."""


class BaseError(OsdEdgeError):
    """A base package is damaged, incomplete or of an unknown version."""


class ModelError(OsdEdgeError):
    """A base or fine-tuned checkpoint cannot be exported."""


class DataError(OsdEdgeError):
    """A calibration or test file cannot be used."""


class BudgetError(OsdEdgeError):
    """A budget is malformed or too small."""


class TaskError(OsdEdgeError):
    """A task name is unknown to the session, or already taken."""


class InputError(OsdEdgeError):
    """An argument or a run input has the wrong kind or shape."""


class OutputError(OsdEdgeError):
    """A file or folder could not be written."""


class DeviceError(OsdEdgeError):
    """A device cannot be reached, built or used."""
