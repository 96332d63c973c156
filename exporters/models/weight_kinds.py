"""The kinds of weights that a base package may be stored with, by name."""

from osd_edge.errors import Code, expected_one_of

WEIGHT_KINDS = ("fp32", "fp16", "int8", "int4")


def check_weight_kind(kind: str) -> None:
    """Raises InputError `input.weights` where `kind` is not one of the kinds of weights."""
    if kind not in WEIGHT_KINDS:
        raise expected_one_of(Code.INPUT_WEIGHTS, WEIGHT_KINDS, kind)
