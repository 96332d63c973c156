"""An input's outcome: accepted, or refused with a code, and by which lines it came to that."""

from dataclasses import dataclass
from types import TracebackType

from osd_edge.errors import OsdEdgeError

ACCEPTED = "accepted"
LONGEST_MESSAGE = 600


class Fault(Exception):  # noqa: N818 - no error: it is what is looked for
    """An input that was neither decoded nor refused as it ought to be.

    `title` is the same for inputs that show the same fault, `detail` is of this one.
    """

    def __init__(self, title: str, detail: str = "") -> None:
        super().__init__(title, detail)
        self.title = title
        self.detail = detail


@dataclass(frozen=True)
class Observed:
    """A refusal's `code`, or `accepted`; `trail` tells apart the ways that lead to one code.

    Of a refusal it is the lines that raised it, of an accepted input what is in it. `facts` is
    what another reader must find in the same input, where there is one.
    """

    code: str
    trail: tuple[object, ...] = ()
    facts: object = None


def refused(error: OsdEdgeError, kinds: frozenset[str]) -> Observed:
    """Gives the outcome of a refusal; raises Fault where it is of no kind that is declared."""
    if error.code.kind not in kinds:
        raise Fault(f"refused with {error.code}, of none of the kinds declared", str(error))
    message = str(error)
    if len(message) > LONGEST_MESSAGE or not message.replace("\n", " ").isprintable():
        raise Fault(f"the message of {error.code} is long, or not printable", repr(message))
    cause = error.__cause__
    reason = () if cause is None else (type(cause).__name__, *lines_of(cause.__traceback__))
    return Observed(str(error.code), (*lines_of(error.__traceback__), *reason))


def lines_of(traceback: TracebackType | None) -> tuple[str, ...]:
    """Names the lines of the project that a traceback goes through."""
    found = []
    while traceback is not None:
        path = traceback.tb_frame.f_code.co_filename.replace("\\", "/")
        _, inside, name = path.rpartition("/osd_edge/")
        if inside:
            found.append(f"{name}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return tuple(found)
