"""Measures how near coded rows are to their entropy, and how fast they decode.

`python -m benchmarks.coding [FILE.npz …] [--json]`. Without files, integers are drawn like the
columns of compressed deltas: MiniLM at 10, 20, 40 and 160 KB, RoBERTa-large at 1 MB. A file
holds integer matrices `[rows, width]`, coded in its order.

* `adaptive`: bytes over the ideal of an adaptive arithmetic coder that starts each row anew. It
  codes whether a slot is zero, a sign as one bit, then whether |q| > 1, > 2 … > 15, each by
  the Krichevsky-Trofimov estimator of its own counts in the row, and 16 bits beyond 16.
* `static`: bytes over the entropy of the same decisions with each row's own frequencies known.
* `factors`: ms from the coded bytes to float32 factors in one array, half of the rows scaled and
  half transposed; `copy` is how often those factors could be copied in that time.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.integers import IntegerSite
from osd_edge.formats.coding.rows import decode_rows, encode_rows

IntegerArray = NDArray[Any]

MINILM = [(384, 384)] * 4 + [(1536, 384), (384, 1536)]
ROBERTA_LARGE = [(1024, 1024)] * 4 + [(4096, 1024), (1024, 4096)]
CASES = (
    ("minilm-10KB", MINILM, 64_000),
    ("minilm-20KB", MINILM, 127_000),
    ("minilm-40KB", MINILM, 254_000),
    ("minilm-160KB", MINILM, 1_000_000),
    ("roberta-large-1MB", ROBERTA_LARGE, 6_300_000),
)
REPEATS = 15


def synthetic(shapes: Sequence[tuple[int, int]], slots: int) -> list[IntegerArray]:
    """U and V in turn, three columns a site, about `slots` in all.

    A fifth to a third of the slots is non-zero, by column from 0.5 to 80 %, of which about
    .72, .16 and .12 are 1, 2 and more.
    """
    random = np.random.default_rng(0)
    made: list[IntegerArray] = []
    while sum(matrix.size for matrix in made) < slots:
        for width in shapes[len(made) // 2 % len(shapes)]:
            density = 1 / (1 + np.exp(-random.normal(-1.3, 1.0, (3, 1))))
            ratio = np.clip(0.28 * np.exp(random.normal(0, 0.35, (3, 1))), 0.02, 0.8)
            more = random.random((3, width)) < ratio
            tail = random.geometric(np.clip(1 - 1.4 * ratio, 0.2, 1), (3, width))
            size = (random.random((3, width)) < np.clip(density, 0.005, 0.8)) * (1 + more * tail)
            made.append((size * random.choice([-1, 1], size.shape)).astype(np.int32))
    return made


def adaptive_bytes(rows: IntegerArray) -> float:
    """The adaptive ideal of rows `[rows, width]`."""
    return sum(float(_krichevsky_trofimov(*counts).sum()) for counts in _decisions(rows)) / 8


def static_bytes(rows: IntegerArray) -> float:
    """The entropy of the same decisions by each row's frequencies, which cost nothing."""
    return sum(float(_entropy(*counts).sum()) for counts in _decisions(rows)) / 8


def _decisions(rows: IntegerArray) -> Iterator[tuple[IntegerArray, IntegerArray]]:
    """Counts of no and yes `[rows]` of every decision but the raw bits, which come as halves."""
    size = np.abs(rows)
    raw = np.count_nonzero(rows) + 16 * np.count_nonzero(size > 16)
    for limit in range(16):
        reached = (size >= limit).sum(axis=1)
        yes = (size > limit).sum(axis=1)
        yield reached - yes, yes
    yield np.array([-1]), np.array([raw])


def _krichevsky_trofimov(no: IntegerArray, yes: IntegerArray) -> NDArray[np.float64]:
    if no[0] < 0:
        return yes.astype(np.float64)
    lgamma: Any = np.frompyfunc(math.lgamma, 1, 1)
    log = lgamma(no + yes + 1.0) + 2 * math.lgamma(0.5) - lgamma(no + 0.5) - lgamma(yes + 0.5)
    bits: NDArray[np.float64] = log.astype(np.float64) / math.log(2)
    return bits


def _entropy(no: IntegerArray, yes: IntegerArray) -> NDArray[np.float64]:
    if no[0] < 0:
        return yes.astype(np.float64)
    total = np.maximum(no + yes, 1)
    bits: NDArray[np.float64] = np.zeros(len(total))
    for part in (no, yes):
        bits -= part * np.log2(np.maximum(part, 1) / total)
    return bits


def measure(name: str, matrices: Sequence[IntegerArray]) -> dict[str, Any]:
    """Sizes in bytes and times in ms of one case."""
    begun = time.perf_counter()
    data = np.frombuffer(encode_rows(matrices), np.uint8)
    encoding = time.perf_counter() - begun
    shapes = [(matrix.shape[0], matrix.shape[1]) for matrix in matrices]
    slots = sum(matrix.size for matrix in matrices)
    rows = sum(map(len, matrices))
    for matrix, decoded in zip(matrices, decode_rows(data, shapes), strict=True):
        assert np.array_equal(matrix, decoded)
    factors = np.zeros(slots, np.float32)
    copied = np.ones_like(factors)
    decoding = _times(lambda: decode_rows(data, shapes))
    whole = _times(lambda: _factors(decode_rows(data, shapes)))
    copy = _times(lambda: np.copyto(copied, factors))
    return {
        "case": name,
        "slots": slots,
        "nonzero": sum(map(np.count_nonzero, matrices)) / slots,
        "rows": rows,
        "lanes": 1 << int(data[rows]),
        "bytes": data.size,
        "adaptive": data.size / sum(map(adaptive_bytes, matrices)),
        "static": data.size / sum(map(static_bytes, matrices)),
        "encode_ms": 1e3 * encoding,
        "decode_ms": 1e3 * decoding[1],
        "decode_spread_ms": [1e3 * decoding[0], 1e3 * decoding[2]],
        "decode_ns_per_slot": 1e9 * decoding[1] / slots,
        "factors_ms": 1e3 * whole[1],
        "factors_spread_ms": [1e3 * whole[0], 1e3 * whole[2]],
        "factors_ns_per_slot": 1e9 * whole[1] / slots,
        "copy": whole[1] / copy[1],
    }


def _factors(matrices: Sequence[IntegerArray]) -> NDArray[np.float32]:
    """Rows in pairs as U and V of a site, as the runtime keeps them."""
    arena = np.zeros(sum(matrix.size for matrix in matrices), np.float32)
    at = 0
    for u, v in zip(matrices[::2], matrices[1::2], strict=False):
        k, n, d = len(u), u.shape[1], v.shape[1]
        out_u = arena[at : at + u.size].reshape(k, n)
        at += u.size
        out_v = arena[at : at + v.size].reshape(d, k)
        at += v.size
        IntegerSite(0, u, v, np.ones(k, np.float32)).write(out_u, out_v)
    return arena


def _times(work: Callable[[], object]) -> tuple[float, float, float]:
    """Shortest, median and longest time in seconds, after one run to warm up."""
    work()
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    times.sort()
    return times[0], times[REPEATS // 2], times[-1]


def main() -> None:
    """Print a line for each case, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.npz")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = []
    cases: Iterator[tuple[str, list[IntegerArray]]]
    if arguments.files:
        cases = ((path.name, list(np.load(path).values())) for path in arguments.files)
    else:
        cases = ((name, synthetic(shapes, slots)) for name, shapes, slots in CASES)
    for name, matrices in cases:
        result = measure(name, matrices)
        results.append(result)
        if not arguments.json:
            low, high = result["factors_spread_ms"]
            print(
                f"{name:20} {result['bytes']:8} bytes, {result['adaptive']:.4f} of adaptive, "
                f"{result['static']:.4f} of static, decode {result['decode_ms']:.1f} ms, "
                f"factors {result['factors_ms']:.1f} ms ({low:.1f} to {high:.1f}), "
                f"{result['factors_ns_per_slot']:.1f} ns/slot, {result['copy']:.0f} copies, "
                f"{result['lanes']} lanes"
            )
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
