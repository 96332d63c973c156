"""Options of how methods of dense values store a head."""

from dataclasses import dataclass, field

from osd_edge.data.arguments import as_whole
from osd_edge.errors import Code, expected_one_of
from osd_edge.exporters.methods.budget import VALUE_BITS
from osd_edge.exporters.option_fields import flag


@dataclass(frozen=True)
class HeadOptions:
    """Options of a stored head, for the paper's methods, which keep dense values.

    Args:
        values: the type of its matrices' values: fp32, fp16 or int8.
        rank: the rank of big dense layers' factors. Without one such a layer gets the smallest
            rank that keeps 99 % of its squared norm, and stays a full matrix where factors of
            that rank would be no smaller.
        max_bytes: a bound on the matrices of big layers, kept by a smaller rank where it must be.

    Raises:
        InputError: `input.values` for values of no such type, `input.number` for a rank below 1.

    Example:
        >>> HeadOptions(values="int8")
        HeadOptions(values='int8', rank=None, max_bytes=None)
    """

    values: str = field(
        default="fp16",
        metadata=flag(
            "--head-values",
            choices=("fp16", "int8"),
            help="Of the paper's methods. Default: fp16.",
        ),
    )
    rank: int | None = field(
        default=None,
        metadata=flag(
            "--head-rank",
            least=1,
            help="Rank of a head's big dense layers, for the paper's methods. "
            "Default: the smallest that keeps 99 % of the norm.",
        ),
    )
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.values not in tuple(VALUE_BITS):
            raise expected_one_of(Code.INPUT_VALUES, VALUE_BITS, self.values)
        for name, least in (("rank", 1), ("max_bytes", 0)):
            value = getattr(self, name)
            if value is not None:
                as_whole(value, f"head {name}", least)
