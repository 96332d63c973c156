"""Every way OSD Edge refuses: one exception tree, one stable code for each reason.

* OsdEdgeError
  * BundleError: a task bundle that cannot be trusted or does not fit
  * BaseError: a base package that is damaged, incomplete or of another kind
  * ModelError: a checkpoint that cannot be exported
  * DataError: a calibration or test file that cannot be used
    * ReportError: a report of a measurement that breaks a rule
  * BudgetError: a size that cannot be met
  * TaskError: a task that a session does not know or cannot run; a session that is closed
  * ConversationError: a conversation that its task, its limit or its file does not let go on
  * ApiError: a request to the API server that it cannot take, or not answer
  * InputError: arguments or run inputs of the wrong kind
  * OutputError: a file that could not be written
  * DeviceError: a device that cannot be reached, or cannot run this

A message says what was expected, what was found and what to do. The codes are in `codes`.
"""

from collections.abc import Iterable
from typing import ClassVar

from osd_edge.errors.codes import Code

__all__ = [
    "ApiError",
    "BaseError",
    "BudgetError",
    "BundleError",
    "Code",
    "ConversationError",
    "DataError",
    "DeviceError",
    "InputError",
    "ModelError",
    "OsdEdgeError",
    "OutputError",
    "ReportError",
    "TaskError",
    "expected_one_of",
    "refusal_of",
    "shown",
]


def shown(text: str, length: int = 80) -> str:
    """Makes text of a file or another program fit for a message: one line, cut, no control codes.

    A file may come from anywhere, and a terminal obeys escape sequences that it is shown.

    >>> shown("a text that goes on", 11)
    'a text tha…'
    """
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


class OsdEdgeError(Exception):
    """The base of all refusals: catch it to handle whatever OSD Edge refuses.

    Args:
        code: Why, as a member of `Code`: stable, for programs.
        message: What was expected, what was found and what to do, for people.

    >>> from osd_edge import OsdEdgeError, read_bundle
    >>> try:
    ...     read_bundle(b"PK")
    ... except OsdEdgeError as error:
    ...     print(error.code, "-", error)
    bundle.too-short - expected at least 8 bytes, found 2: not a task bundle
    """

    kind: ClassVar[str] = ""  # of the codes that the class carries

    def __init__(self, code: Code, message: str) -> None:
        """Takes a member of the table of codes, of the class's own kind, and a message."""
        assert code.kind == self.kind, f"{type(self).__name__} does not carry {code}"
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type["OsdEdgeError"], tuple[Code, str]]:
        """Rebuilds the error in another process, such as the caller of a worker."""
        return type(self), (self.code, str(self))


class BundleError(OsdEdgeError):
    """A task bundle is damaged, of an unknown version, or of another base.

    >>> from pathlib import Path
    >>> from osd_edge import BundleError, read_bundle_file
    >>> try:
    ...     read_bundle_file(Path("no-such.osd.safetensors"))
    ... except BundleError as error:
    ...     print(error.code)
    bundle.missing
    """

    kind = "bundle"


class BaseError(OsdEdgeError):
    """A base package is damaged, incomplete or of an unknown version.

    >>> from pathlib import Path
    >>> from osd_edge import BaseError, read_manifest
    >>> try:
    ...     read_manifest(Path("no-such-folder"))
    ... except BaseError as error:
    ...     print(error.code)
    base.missing
    """

    kind = "base"


class ModelError(OsdEdgeError):
    """A base or fine-tuned checkpoint cannot be exported.

    >>> from osd_edge import Code, ModelError
    >>> ModelError(Code.MODEL_TENSOR, "model.safetensors lacks 'classifier.weight'").code
    <Code.MODEL_TENSOR: 'model.tensor'>
    """

    kind = "model"


class DataError(OsdEdgeError):
    """A calibration or test file cannot be used.

    >>> from pathlib import Path
    >>> from osd_edge import DataError, read_examples
    >>> try:
    ...     read_examples(Path("no-such.tsv"))
    ... except DataError as error:
    ...     print(error.code)
    data.missing
    """

    kind = "data"


class ReportError(DataError):
    """A report of a measurement cannot be read, or breaks a rule of its schema.

    >>> from pathlib import Path
    >>> from osd_edge import ReportError
    >>> from osd_edge.device_tests import read_report
    >>> try:
    ...     read_report(Path("no-such.json"))
    ... except ReportError as error:
    ...     print(error.code)
    report.missing
    """

    kind = "report"


class BudgetError(OsdEdgeError):
    """A budget for a task is malformed, or too small for any bundle of it.

    >>> from osd_edge import BudgetError, Code
    >>> BudgetError(Code.BUDGET_TOO_SMALL, "expected at least 812 B, found 100 B").code
    <Code.BUDGET_TOO_SMALL: 'budget.too-small'>
    """

    kind = "budget"


class TaskError(OsdEdgeError):
    """A session does not have the task, is closed, or the task cannot do what is asked of it.

    >>> from osd_edge import TaskError
    >>> from osd_edge.runtime import EdgeSession
    >>> try:
    ...     EdgeSession("base").activate("no-such-task")
    ... except TaskError as error:
    ...     print(error.code)
    task.unknown
    """

    kind = "task"


class ConversationError(OsdEdgeError):
    """A conversation cannot go on: its task is another now, its room is full, its file is damaged.

    >>> from osd_edge import Code, ConversationError
    >>> ConversationError(Code.CONVERSATION_FULL, "expected fewer tokens than 512").code
    <Code.CONVERSATION_FULL: 'conversation.full'>
    """

    kind = "conversation"


class ApiError(OsdEdgeError):
    """A request to the server of `osd-edge api` cannot be taken, or was not answered.

    >>> from osd_edge import ApiError, Code
    >>> ApiError(Code.API_MODEL, "expected one of smollm2, snips, found 'gpt-4'").code
    <Code.API_MODEL: 'api.model'>
    """

    kind = "api"


class InputError(OsdEdgeError):
    """An argument or an input of a run has the wrong kind or shape.

    >>> from dataclasses import replace
    >>> from pathlib import Path
    >>> from osd_edge import InputError, read_bundle_file, write_bundle
    >>> bundle = read_bundle_file(Path("colours.osd.safetensors"))
    >>> try:
    ...     write_bundle(replace(bundle, task="no name of a task"))
    ... except InputError as error:
    ...     print(error.code)
    input.task-name
    """

    kind = "input"


class OutputError(OsdEdgeError):
    """A file or folder could not be written.

    >>> from pathlib import Path
    >>> from osd_edge import Example, OutputError, write_tsv
    >>> try:
    ...     write_tsv([Example("a film of real charm", "positive")], Path("no-such-folder/x.tsv"))
    ... except OutputError as error:
    ...     print(error.code)
    output.unwritable
    """

    kind = "output"


class DeviceError(OsdEdgeError):
    """A device cannot be reached, built or used.

    >>> from osd_edge import Code, DeviceError
    >>> DeviceError(Code.DEVICE_UNREACHABLE, "no route to 192.0.2.1").code
    <Code.DEVICE_UNREACHABLE: 'device.unreachable'>
    """

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


def expected_one_of(code: Code, names: Iterable[str], found: object) -> InputError:
    """The refusal of a value that is none of `names`; `found` may be of any type.

    >>> str(expected_one_of(Code.INPUT_REFINE, ("none", "scales"), "all"))
    "expected one of none, scales, found 'all'"
    """
    words = shown(str(found), 40)
    return InputError(code, f"expected one of {', '.join(names)}, found {words!r}")
