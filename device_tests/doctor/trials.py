"""Tries numpy, onnxruntime and a small base package, in a process that may break without harm.

`python -m osd_edge.device_tests.doctor.trials` writes a line of JSON after each trial, so that
whoever started it knows which one ended the process.
"""

import json
import sys
from collections.abc import Callable

from osd_edge.device_tests.doctor import tiny_graphs
from osd_edge.errors import shown


def main() -> None:
    """Makes the trials in turn; without numpy or onnxruntime the others are left out."""
    for name, trial in TRIALS.items():
        works = True
        try:
            words = trial()
        except Exception as error:  # whatever it is, it is what was found
            works, words = False, f"{type(error).__name__}: {error}"
        finding = {"name": name, "works": works, "words": shown(" ".join(words.split()), 400)}
        print(json.dumps(finding), flush=True)
        if not works and name in ("numpy", "onnxruntime"):
            sys.exit(1)


def _numpy() -> str:
    import numpy

    return f"{numpy.__version__}, imported"


def _onnxruntime() -> str:
    import osd_edge.runtime  # before onnxruntime: it turns the telemetry client off  # noqa: F401

    # isort: split
    import onnxruntime

    return f"{onnxruntime.__version__}, {', '.join(onnxruntime.get_available_providers())}"


def _session() -> str:
    from osd_edge.device_tests.conformance.checks import run_conformance

    found = run_conformance()
    if found["failures"]:
        first, count = found["failures"][0], len(found["failures"])
        raise ValueError(
            f"{count} of {found['cases']} cases otherwise than recorded; {first['id']}: expected "
            f"{first['expected']}, found {first['found']}"
        )
    return f"a small base answers as recorded, with fused operators ({found['cases']} cases)"


def _int8() -> str:
    _product(tiny_graphs.int8_graph(), tiny_graphs.INT8_X)
    return "DynamicQuantizeLinear, MatMulInteger"


def _int4() -> str:
    _product(tiny_graphs.int4_graph(), tiny_graphs.INT4_X)
    return "MatMulNBits"


def _product(graph: bytes, x: list[int]) -> None:
    """Runs a layer on `x` `[d]`; raises ValueError where it is not right to a thousandth."""
    import numpy
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"x": numpy.array([x], numpy.float32)})
    expected = numpy.array([x]) @ numpy.array(tiny_graphs.WEIGHT).T
    if not numpy.abs(y - expected).max() <= 1e-3 * numpy.abs(expected).max():
        raise ValueError(f"expected the products {expected.tolist()}, found {y.tolist()}")


TRIALS: dict[str, Callable[[], str]] = {
    "numpy": _numpy,
    "onnxruntime": _onnxruntime,
    "session": _session,
    "int8": _int8,
    "int4": _int4,
}


if __name__ == "__main__":
    main()
