"""Every reader on mutants: decoded, or refused with a code of its own."""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.outcome import Observed, refused
from fuzz.targets import seeds
from fuzz.targets.table import TARGETS
from fuzz.targets.target import Reader, Target
from osd_edge.errors import OsdEdgeError

# The targets that cannot end the process; the others have one of their own in `make fuzz`.
IN_PROCESS = pytest.mark.parametrize("name", ["bundle", "head", "manifest"])
POOLS = {name: [*target.seeds(), *seeds.kept(name)] for name, target in TARGETS.items()}


@IN_PROCESS
def test_seeds_and_the_kept_corpus_are_decoded_or_refused(name: str, tmp_path: Path) -> None:
    run = TARGETS[name].opened(tmp_path)
    codes = Counter(outcome(TARGETS[name], run, data).code for data in POOLS[name])
    assert codes["accepted"] > 2 and len(codes) >= 3, codes
    assert sum(codes.values()) > 60


@IN_PROCESS
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,  # `make fuzz` has other inputs each time; a pull request has the same
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_mutants_are_decoded_or_refused(name: str, tmp_path: Path, data: st.DataObject) -> None:
    target, pool = TARGETS[name], POOLS[name]
    first, other = (data.draw(st.integers(0, len(pool) - 1)) for _ in range(2))
    noise = Random(data.draw(st.integers(0, 2**32)))
    mutant = target.mutant(noise, pool[first], pool[other])
    found = outcome(target, target.opened(tmp_path), mutant)
    assert found.trail


def test_a_graph_whose_numbers_overflow_is_refused(tmp_path: Path) -> None:
    """Hidden states of 1e38 are finite; what a head makes of them is not."""
    model = onnx.load_model_from_string(TARGETS["graph"].seeds()[0])
    hidden = model.graph.output[0].name
    (last,) = (node for node in model.graph.node if hidden in node.output)
    last.output[list(last.output).index(hidden)] = "before"
    model.graph.node.add().CopyFrom(onnx.helper.make_node("Mul", ["before", "by"], [hidden]))
    by = onnx.numpy_helper.from_array(np.full(1, 1e38, np.float32), "by")
    model.graph.initializer.add().CopyFrom(by)
    run = TARGETS["graph"].opened(tmp_path)
    found = outcome(TARGETS["graph"], run, model.SerializeToString())
    assert found.code == "task.not-finite"


def outcome(target: Target, run: Reader, data: bytes) -> Observed:
    try:
        return run(data)
    except OsdEdgeError as error:
        return refused(error, target.kinds)
