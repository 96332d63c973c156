"""A case of conformance, and how one is found to come out otherwise than recorded."""

from collections.abc import Callable
from typing import Any

import numpy as np

ConformanceCase = tuple[str, str, Callable[[], None]]  # its id, what is expected, and the check


class Differs(Exception):  # noqa: N818 - a finding, no error
    """Says that a case came out otherwise than recorded."""

    def __init__(self, expected: object, found: object) -> None:
        super().__init__()
        self.expected, self.found = str(expected), str(found)


def close(expected: Any, found: Any, tolerance: float) -> None:
    """Raises Differs where an array is further than `tolerance` from what is expected."""
    difference = float(np.abs(np.asarray(expected) - np.asarray(found)).max())
    if not difference <= tolerance:  # NaN is not close either
        raise Differs(f"within {tolerance:g} of what is recorded", f"apart by {difference:g}")


def same(expected: object, found: object) -> None:
    """Raises Differs where the two are not equal."""
    if expected != found:
        raise Differs(expected, found)
