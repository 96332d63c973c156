"""Opens a base package's graph in onnxruntime, and checks that it is the one described."""

import re
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort
from numpy.typing import NDArray

from osd_edge.data.raised_by import raised_by
from osd_edge.errors import BaseError, Code, expected_one_of, shown
from osd_edge.formats.package.generation import ALL_LOGITS, LOGITS
from osd_edge.formats.package.manifest import MODEL, PIXELS, BaseManifest
from osd_edge.runtime.lifetime import OPENING

Array = NDArray[Any]
Memory = Literal["default", "low"]
MOST_THREADS = 1024  # far more than any device has cores
MEMORY: tuple[Memory, ...] = ("default", "low")


def open_graph(
    path: Path,
    threads: int = 0,
    memory: Memory = "default",
    *,
    by_blocks: bool = False,
    named: Path | None = None,
) -> ort.InferenceSession:
    """Opens the graph file `path` in onnxruntime, on `threads` threads of the CPU (0: all cores).

    `memory` "low" leaves the weights where they are, in the mapped file, in the place of a copy
    laid out for speed, and plans no memory ahead: slower, and far less resident (docs/memory.md
    has both measured). With `by_blocks` weights are for MatMulNBits. `named` is what messages
    call the file, where it is opened by another name. The graph must have been checked: see
    `check_graph_file`.

    Raises BaseError `base.graph`, InputError `input.memory`.
    """
    if memory not in MEMORY:
        raise expected_one_of(Code.INPUT_MEMORY, MEMORY, memory)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Fatal errors alone: others come as exceptions, and a banner for the terminal beside them.
    options.log_severity_level = 4
    if _version() < (1, 30):
        # With all optimisations these end the process at a package with factors in fp16; those left
        # out lay convolutions out, so that nothing is slower.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    # Threads that wait for the next run busily take power, and time from other programs: as fast,
    # and 40 % less processor time with pauses between runs (docs/latency.md).
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if memory == "low":
        # The arena stays on: without it the peak is higher and runs are slower (docs/memory.md).
        options.enable_mem_pattern = False
        if not by_blocks:  # whose operator unpacks at every run what is not prepacked
            options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        with OPENING:
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a damaged graph comes to many kinds of exception
        if not raised_by("onnxruntime", error):
            raise
        named = named or path
        reason = shown(str(error).replace(str(path.parent), str(named.parent)), 200)
        raise BaseError(Code.BASE_GRAPH, f"onnxruntime cannot open {named}: {reason}") from error


def _version() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", ort.__version__)[:2])


def check_graph(session: ort.InferenceSession, manifest: BaseManifest, folder: Path) -> None:
    """Refuses (`base.graph`) a graph that is not the one that the manifest describes."""
    given: tuple[str, list[int | None]] = ("tensor(int64)", [None, None])
    if manifest.inputs == (PIXELS,):
        given = ("tensor(float)", [None] * 4)
    expected = dict.fromkeys(manifest.inputs, given)
    factor = {"fp32": "tensor(float)", "fp16": "tensor(float16)"}[manifest.factors]
    for branch in manifest.branches:
        expected[branch.u] = (factor, [None, None, branch.n])
        expected[branch.v] = (factor, [None, branch.d, None])
    for each in manifest.vector_inputs:
        expected[each.name] = (factor, [None, 1, each.n])
    generation = manifest.generation
    if generation is not None:
        cache = ("tensor(float)", [None, generation.heads, None, generation.head_size])
        expected |= dict.fromkeys(generation.past, cache)
        expected[ALL_LOGITS] = ("tensor(int64)", [])
    found = {
        node.name: (node.type, [size if isinstance(size, int) else None for size in node.shape])
        for node in (*session.get_inputs(), *session.get_overridable_initializers())
    }
    outputs = {node.name: node.type for node in session.get_outputs()}
    named = [manifest.hidden_output, manifest.pooler_output or manifest.hidden_output]
    named += [] if generation is None else [LOGITS, *generation.present]
    first = [(node.name, node.shape[2:]) for node in session.get_outputs()[:1]]
    if (
        found != expected
        or any(outputs.get(name) != "tensor(float)" for name in named)
        or first != [(manifest.hidden_output, [manifest.hidden_size])]
    ):
        raise BaseError(
            Code.BASE_GRAPH, f"{folder / MODEL} is not what its manifest describes: copy it again"
        )


def check_results(
    manifest: BaseManifest, given: tuple[int, ...], hidden: Array, pooled: Array | None
) -> None:
    """Refuses (`base.graph`) results that are not of the shape that an input of shape `given` has.

    onnxruntime holds no graph to the shapes that it declares.
    """
    size = manifest.hidden_size
    # Pictures become as many tokens as the base makes of them.
    tokens = hidden.shape[1:2] if manifest.inputs == (PIXELS,) else given[1:2]
    if hidden.shape != (given[0], *tokens, size) or (
        pooled is not None and pooled.shape != (given[0], size)
    ):
        raise BaseError(Code.BASE_GRAPH, "the graph's results are not of the shape it declares")
