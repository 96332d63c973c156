"""Budgets: bytes of the whole file, or the paper's `r=…` for the linear factors alone."""

import re
from dataclasses import dataclass

from osd_edge.data.arguments import as_number, as_whole, described
from osd_edge.data.sizes import LARGEST_SIZE, parse_size
from osd_edge.errors import BudgetError, Code, InputError
from osd_edge.formats.coding.index_bits import index_bits
from osd_edge.formats.limits import MAX_DIMENSION

VALUE_BITS = {"fp32": 32, "fp16": 16, "int8": 8}
SCALE_BITS = 32  # int8 columns carry one fp32 scale


@dataclass(frozen=True)
class Budget:
    """The size that a task bundle is made for: either of the two.

    Args:
        rank: the paper's r: each linear layer's factors get 32 r (n + d) bits, the bits of r fp32
            columns, and the head comes on top.
        size: bytes of the whole file.

    Example:
        >>> str(Budget(rank=1)), str(Budget(size=16384))
        ('r=1', '16384 bytes')

    Raises:
        BudgetError: `budget.malformed` unless there is one of the two, above 0.
    """

    rank: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        """Check that there is one of the two, above nothing."""
        if (self.rank is None) == (self.size is None):
            raise BudgetError(
                Code.BUDGET_MALFORMED, "a budget is a rank or a size: expected one of the two"
            )
        try:
            if self.size is not None:
                as_whole(self.size, "size", 1, LARGEST_SIZE)
            elif as_number(self.rank, "rank") <= 0:
                raise InputError(
                    Code.INPUT_NUMBER, f"rank: expected more than nothing, found {self.rank:g}"
                )
        except InputError as error:
            raise BudgetError(Code.BUDGET_MALFORMED, f"a budget's {error}") from error

    def __str__(self) -> str:
        return f"r={self.rank:g}" if self.rank is not None else f"{self.size} bytes"


def parse_budget(given: str | int | Budget) -> Budget:
    """A budget such as `r=1`, `r=0.5`, `64KiB` or `1.5MB`, or bytes as a whole number.

    Raises BudgetError `budget.malformed`.

    >>> parse_budget(16384) == parse_budget("16KiB")
    True
    """
    if isinstance(given, Budget):
        return given
    return _parse_text(given) if isinstance(given, str) else Budget(size=_bytes(given))


def budget_text(given: str | int) -> str:
    """The budget as text, such as comparisons name their files by; raises `budget.malformed`."""
    parse_budget(given)
    return given if isinstance(given, str) else str(int(given))


def _bytes(given: object) -> int:
    try:
        return as_whole(given, "budget", 1, LARGEST_SIZE)
    except InputError as error:
        raise BudgetError(
            Code.BUDGET_MALFORMED,
            "expected a budget such as r=1, 64KiB or 1.5MB, or bytes as a whole number of 1 or "
            f"more, found {described(given)}",
        ) from error


def _parse_text(text: str) -> Budget:
    match = re.fullmatch(r"r\s*=\s*(\d+(?:\.\d+)?)", text.strip())
    try:
        value = float(match[1]) if match else parse_size(text)
    except InputError as error:
        raise BudgetError(
            Code.BUDGET_MALFORMED, f"expected a budget such as r=1, 64KiB or 1.5MB, found {text!r}"
        ) from error
    if match and value > MAX_DIMENSION:
        raise BudgetError(Code.BUDGET_MALFORMED, f"no layer has a rank of {text[:40]!r}")
    if not value:
        raise BudgetError(
            Code.BUDGET_MALFORMED, f"a budget must be more than nothing, found {text!r}"
        )
    return Budget(rank=value) if match else Budget(size=int(value))


def layer_bits(rank: float, n: int, d: int) -> int:
    """Bits that budget r gives the factors of an `[n, d]` layer: those of r fp32 columns."""
    return int(32 * rank * (n + d))


def column_bits(n: int, d: int, values: str) -> int:
    """Bits of one dense column pair (u_k, v_k), with its scale where values are int8."""
    return VALUE_BITS[values] * (n + d) + (SCALE_BITS if values == "int8" else 0)


def element_bits(n: int, d: int, k: int, values: str) -> tuple[int, int]:
    """Bits of one kept element of U `[n, k]` and of V `[d, k]` in the paper's count.

    The value, and its slot: ⌈log₂ nk⌉ and ⌈log₂ dk⌉ bits (arXiv 2511.02681).
    """
    value = VALUE_BITS[values]
    return value + index_bits(n * k), value + index_bits(d * k)


def paper_bits(n: int, d: int, k: int, s_u: int, s_v: int, values: str = "fp32") -> int:
    """μ = b (s_u + s_v) + ⌈log₂ nk⌉ s_u + ⌈log₂ dk⌉ s_v for s_u, s_v kept elements.

    b is 32 in the paper. Scales of int8 columns, which the paper does not have, count on top.
    """
    u_bits, v_bits = element_bits(n, d, k, values)
    return u_bits * s_u + v_bits * s_v + (SCALE_BITS * k if values == "int8" else 0)
