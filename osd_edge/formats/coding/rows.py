"""Codes rows of small integers near their entropy; `docs/bundle-format.md` has the layout.

A row is one column of a factor, or one row of a head's matrix. Each is cut into groups of four
slots, the last one filled up with zeros, and has a class that says how dense it is
(`tables`). The stream is: a class byte for each row; log₂ of the number of lanes; the
lanes' states; their words (`rans`); then what is left of the raw bits (signs, then escapes)
after the lanes' last states have given theirs.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import BundleError, Code
from osd_edge.formats.coding.rans import LOWEST, MAX_LANES_LOG2, LaneDecoder, encode_lanes
from osd_edge.formats.coding.tables import (
    CLASSES,
    DIGITS,
    ESCAPE,
    GROUP,
    LARGE,
    PATTERNS,
    TAILS,
    TOTAL,
    decode_table,
    pattern_bits,
    pattern_starts,
    symbol_bits,
    tail_bits,
    tail_starts,
    tail_table,
)

IntegerArray = NDArray[Any]

MAX_INTEGER = 2 + ESCAPE + 0xFFFF  # largest magnitude: 65,552
MAX_STEPS = 1024  # of patterns, where more lanes are possible: a step takes as long for one lane
_SYMBOLS_AT_ONCE = 1 << 16  # that are decoded, so that memory goes with the integers alone
_SYMBOLS_PER_LANE = 128  # more lanes are faster, and cost about a bit each
_SLOTS_OF = np.zeros((128, GROUP), np.uint8)
_SLOTS_OF[:PATTERNS] = DIGITS
_SLOTS = _SLOTS_OF.view(np.uint32).reshape(-1)  # the four slots of a pattern as one number


def encode_rows(blocks: Sequence[IntegerArray]) -> bytes:
    """Codes blocks of rows `[rows, width]`, |q| ≤ 65,552; the inverse of `decode_rows`.

    Every row gets the class in which it takes the fewest bits.
    """
    groups = [_grouped(block) for block in blocks]
    width = np.concatenate([np.full(len(g), g.shape[1]) for g in groups])
    flat = np.concatenate([g.reshape(-1, GROUP) for g in groups])
    size = np.abs(flat)
    if size.max(initial=0) > MAX_INTEGER:
        raise ValueError(f"expected integers up to {MAX_INTEGER}, found {size.max()}")
    classes, _ = _best(flat, np.repeat(np.arange(width.size), width), width.size)
    class_of = np.repeat(classes, width)
    patterns = _patterns(size)
    large = size >= 2
    tails = np.minimum(size[large] - 2, ESCAPE)
    tail_class = np.broadcast_to(class_of[:, None], size.shape)[large] % len(LARGE) - 1
    parts = [
        _symbols(pattern_starts(), class_of, patterns),
        _symbols(tail_starts(), tail_class, tails),
    ]
    escaped = size[size >= 2 + ESCAPE] - (2 + ESCAPE)
    raw = np.concatenate(
        [flat[flat != 0] < 0, (escaped[:, None] >> np.arange(16) & 1).astype(bool).ravel()]
    )
    lanes = _lanes(patterns.size, tails.size, raw.size)
    first, used = _first_states(raw, _growth(parts, lanes))
    states, words = encode_lanes(first, parts)
    return b"".join(
        [
            classes.astype(np.uint8).tobytes(),
            bytes([lanes.bit_length() - 1]),
            states.astype("<u4").tobytes(),
            words.astype("<u2").tobytes(),
            np.packbits(raw[used:], bitorder="little").tobytes(),
        ]
    )


def decode_rows(data: NDArray[np.uint8], shapes: Sequence[tuple[int, int]]) -> list[IntegerArray]:
    """Decodes the blocks of rows, of `shapes` (rows, width), that `data` holds.

    They are int8 where all fit, else int32, and views of one array. Raises BundleError:
    `bundle.coded-size` where `data` cannot hold so many rows, `bundle.coded-stream` where it is
    malformed. A few bytes may have many slots, of which each takes a byte or, as int32, five:
    whoever calls bounds their number.
    """
    rows = sum(count for count, _ in shapes)
    total = sum(count * -(-width // GROUP) for count, width in shapes)
    if rows >= data.size:
        raise BundleError(
            Code.BUNDLE_CODED_SIZE, f"{data.size} bytes cannot hold {rows} coded rows"
        )
    counts = [count for count, _ in shapes]
    width = np.repeat([-(-width // GROUP) for _, width in shapes], counts)
    classes, stream = data[:rows], data[rows:]
    lanes = 1 << int(stream[0])
    if stream[0] > MAX_LANES_LOG2 or stream.size < 1 + 4 * lanes:
        raise _malformed("the lanes' states")
    if total > MAX_STEPS * lanes and stream[0] < MAX_LANES_LOG2:
        raise _malformed("too few lanes")
    states = np.frombuffer(stream[1 : 1 + 4 * lanes].tobytes(), "<u4").astype(np.uint32)
    rest = stream[1 + 4 * lanes :]
    words = np.frombuffer(rest[: rest.size // 2 * 2].tobytes(), "<u2").astype(np.uint32)
    if states.min() < LOWEST:
        raise _malformed("the lanes' states")
    decoder = LaneDecoder(states, words)
    slots = _take_patterns(decoder, classes, width)
    integers = _take_tails(decoder, classes, width, slots)
    _apply_raw(integers, decoder.states, rest[2 * decoder.at :])
    return _split(integers, shapes)


def row_bits(rows: IntegerArray) -> NDArray[np.float64]:
    """Counts the bits of each of `rows` `[rows, width]` in its best class, class byte included.

    What lanes add is left out: about a bit for each 128 symbols.
    """
    groups = _grouped(rows)
    index = np.repeat(np.arange(len(groups)), groups.shape[1])
    return _best(groups.reshape(-1, GROUP), index, len(groups))[1]


def _grouped(block: IntegerArray) -> NDArray[np.int64]:
    """`[rows, slots]` filled up with zeros to whole groups; groups counted by `shape[1]`."""
    rows, width = block.shape
    filled = np.zeros((rows, -(-width // GROUP) * GROUP), np.int64)
    filled[:, :width] = block
    return filled.reshape(rows, -1, GROUP)


def _patterns(size: NDArray[np.int64]) -> NDArray[np.int64]:
    patterns: NDArray[np.int64] = np.minimum(size, 2) @ 3 ** np.arange(GROUP)
    return patterns


def _best(
    flat: NDArray[np.int64], row: NDArray[np.int64], rows: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Best class and bits of each row, of groups `[groups, 4]` that belong to rows `row`."""
    size = np.abs(flat)
    patterns = np.bincount(row * PATTERNS + _patterns(size), minlength=rows * PATTERNS)
    large = size >= 2
    of = np.broadcast_to(row[:, None], size.shape)[large]
    tails = np.bincount(of * TAILS + np.minimum(size[large] - 2, ESCAPE), minlength=rows * TAILS)
    patterns, tails = patterns.reshape(rows, PATTERNS), tails.reshape(rows, TAILS)
    tail = np.zeros((rows, len(LARGE)))  # a class without tails cannot have the patterns either
    tail[:, 1:] = tails @ tail_bits().T
    bits = patterns @ pattern_bits().T + np.tile(tail, CLASSES // len(LARGE))
    signs = patterns @ (DIGITS != 0).sum(axis=1)
    classes = bits.argmin(axis=1)
    return classes, 8 + signs + bits[np.arange(rows), classes]


def _symbols(
    starts: NDArray[np.int64], classes: NDArray[np.int64], symbols: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    start = starts[classes, symbols]
    return start, starts[classes, symbols + 1] - start


def _lanes(patterns: int, tails: int, raw: int) -> int:
    """Number of lanes: enough to decode fast, and no more than raw bits can fill."""
    fewest = (-(-patterns // MAX_STEPS) - 1).bit_length()
    filled = min((patterns + tails) // _SYMBOLS_PER_LANE, raw // 31).bit_length() - 1
    return 1 << min(max(fewest, filled), MAX_LANES_LOG2)


def _growth(
    parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], lanes: int
) -> NDArray[np.float64]:
    """Bits that the symbols of each lane add to its state, about."""
    growth = np.zeros(lanes)
    for _, frequency in parts:
        bits = np.zeros(-(-frequency.size // lanes) * lanes)
        bits[: frequency.size] = symbol_bits(frequency)
        growth += bits.reshape(-1, lanes).sum(axis=0)
    return growth


def _first_states(
    raw: NDArray[np.bool_], growth: NDArray[np.float64]
) -> tuple[NDArray[np.uint64], int]:
    """States to code from, holding the first raw bits; and how many of them those are.

    State 2ᵉ + payload holds e bits. Any e of 16 … 31 is valid; that one is taken which leaves
    the state that must be stored whole (32 bits) as full as it can be.
    """
    packed = np.packbits(raw, bitorder="little").tobytes() + bytes(8)
    states, at = [], 0
    for grown in growth:
        window = int.from_bytes(packed[at // 8 : at // 8 + 5], "little") >> at % 8
        best = (-math.inf, 0, 0)
        for e in range(16, 32):
            state = (1 << e) | (window & ((1 << e) - 1))
            log = math.log2(state)
            end = (log + grown) % 16
            # A state that may just miss its word wastes 16 bits.
            gain = end - log + min(e, raw.size - at) - (4 if end > 15.9 else 0)
            best = max(best, (gain, -e, state))
        states.append(best[2])
        at = min(at - best[1], raw.size)
    return np.array(states, np.uint64), at


def _take_patterns(
    decoder: LaneDecoder, classes: NDArray[np.uint8], width: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Slots of all rows, flat: 0, 1, or 2 for more."""
    used, which = np.unique(classes, return_inverse=True)
    table = decode_table(pattern_starts()[used])
    base = (which * TOTAL).astype(np.uint32)
    ends = np.cumsum(width)
    slots = np.empty(int(ends[-1]), np.uint32)
    # Whole steps at a time: symbol i is in lane i mod L.
    for begin in range(0, slots.size, _SYMBOLS_AT_ONCE):
        end = min(begin + _SYMBOLS_AT_ONCE, slots.size)
        first, last = np.searchsorted(ends, (begin, end - 1), side="right")
        here = np.diff(np.minimum(ends[first : last + 1], end), prepend=begin)
        entries = decoder.take(table, np.repeat(base[first : last + 1], here))
        entries >>= 12
        entries &= 127
        _SLOTS.take(entries, out=slots[begin:end], mode="clip")
    return slots.view(np.uint8)


def _take_tails(
    decoder: LaneDecoder,
    classes: NDArray[np.uint8],
    width: NDArray[np.int64],
    slots: NDArray[np.uint8],
) -> IntegerArray:
    """Magnitudes of all slots: int8, or int32 where an escape is among them (then 17)."""
    large = (slots == 2).nonzero()[0]
    ends = np.searchsorted(large, GROUP * np.cumsum(width))
    base = (np.maximum(classes % len(LARGE), 1) - 1).astype(np.uint32) * np.uint32(TOTAL)
    entries = decoder.take(tail_table(), np.repeat(base, np.diff(ends, prepend=0)))
    tails = (entries >> 12 & 15).astype(np.uint8)
    tails += 2
    slots[large] = tails
    integers: IntegerArray = slots.view(np.int8)
    return integers.astype(np.int32) if (tails == 2 + ESCAPE).any() else integers


def _apply_raw(integers: IntegerArray, states: NDArray[np.uint32], rest: NDArray[np.uint8]) -> None:
    """Puts signs and escapes, from the lanes' last states and then `rest`, into `integers`."""
    nonzero = np.flatnonzero(integers != 0)
    values = integers[nonzero]
    escaped = (values == 2 + ESCAPE).nonzero()[0]
    count = nonzero.size + 16 * escaped.size
    held = np.unpackbits(states.astype("<u4").view(np.uint8), bitorder="little").reshape(-1, 32)
    e = np.frexp(states.astype(np.float64))[1] - 1
    payload = held[np.arange(32) < e[:, None]]
    left = max(count - payload.size, 0)
    if rest.size != -(-left // 8):
        raise _malformed("its length")
    raw = np.concatenate([payload, np.unpackbits(rest, bitorder="little")])
    if raw[count:].any():
        raise _malformed("its last bits")
    if escaped.size:
        bits = raw[nonzero.size : count].reshape(-1, 16)
        values[escaped] += np.packbits(bits, axis=1, bitorder="little").view("<u2")[:, 0]
    signs = raw[: nonzero.size].view(np.int8)
    values *= 1 - 2 * signs
    integers[nonzero] = values


def _split(integers: IntegerArray, shapes: Sequence[tuple[int, int]]) -> list[IntegerArray]:
    blocks = []
    at = 0
    for rows, width in shapes:
        filled = -(-width // GROUP) * GROUP
        block = integers[at : at + rows * filled].reshape(rows, filled)
        if width < filled and block[:, width:].any():
            raise _malformed("the slots that fill up a row")
        blocks.append(block[:, :width])
        at += rows * filled
    return blocks


def _malformed(what: str) -> BundleError:
    return BundleError(Code.BUNDLE_CODED_STREAM, f"the coded rows are malformed: {what}")
