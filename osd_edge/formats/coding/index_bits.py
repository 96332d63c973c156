"""The width of an index among a factor's slots, which budgets count with too."""


def index_bits(slots: int) -> int:
    """⌈log₂ slots⌉: bits that name one of `slots` positions."""
    return max(slots - 1, 0).bit_length()
