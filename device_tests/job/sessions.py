"""Opens what a job names: a session over its base, its tasks, its inputs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from osd_edge.device_tests.job.inputs import graph_inputs
from osd_edge.device_tests.job.sheet import Job
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.named_bundle import named_bundle
from osd_edge.formats.package.manifest import MODEL, PLAIN_MODEL, BaseManifest
from osd_edge.runtime import EdgeSession, MixedOutput, Output
from osd_edge.runtime.compact_rows import empty_past
from osd_edge.runtime.graph import open_graph

Inputs = dict[str, NDArray[np.int64]]
KEEP_ALL_DECODED = 2**62  # cache_bytes: a warm swap is one between decoded tasks
WARM_UP_RUNS = 3  # memory is read after these: onnxruntime's arena grows at the first ones
_SHORT = 8


def open_session(job: Job, **options: Any) -> EdgeSession:
    """Opens a session over the job's base, with the job's threads."""
    return EdgeSession(job.base, **({"threads": job.threads} | options))


def inputs_of(job: Job, manifest: BaseManifest) -> Inputs:
    """Makes the job's token inputs `[batch, tokens]`."""
    return graph_inputs(manifest, [list(row) for row in job.ids])


def short_inputs(job: Job, manifest: BaseManifest) -> Inputs:
    """Makes one row of few tokens, for where the run itself is not what is measured."""
    return graph_inputs(manifest, [list(job.ids[0][:_SHORT])])


def run_names(manifest: BaseManifest) -> list[str]:
    """Names the outputs that a session asks for, the hidden states first."""
    pooler = manifest.pooler_output
    return [manifest.hidden_output, *([] if pooler is None else [pooler])]


def open_plain(folder: Path, threads: int) -> Any:
    """Opens an onnxruntime session over the plain graph in `folder`."""
    return open_graph(folder / PLAIN_MODEL, threads)


def open_branched(folder: Path, threads: int) -> Any:
    """Opens an onnxruntime session over the graph with branches, without ours around it."""
    return open_graph(folder / MODEL, threads)


def graph_run(
    session: Any,
    manifest: BaseManifest,
    inputs: Inputs,
    factors: Mapping[str, NDArray[Any]] | None = None,
    adapter: Any = None,
) -> Callable[[], Any]:
    """Returns a run of an onnxruntime session that gives what a session of ours asks it for.

    Of a base that writes text that is hidden states without logits, after no earlier tokens.
    """
    names = run_names(manifest)
    rows = len(inputs[manifest.inputs[0]])
    feeds = {**inputs, **empty_past(manifest, rows), **(factors or {})}
    options = ort.RunOptions()
    options.only_execute_path_to_fetches = manifest.generation is not None
    if adapter is not None:
        options.add_active_adapter(adapter)
    return lambda: session.run(names, feeds, options)


def plain_run(
    folder: Path, manifest: BaseManifest, inputs: Inputs, threads: int
) -> Callable[[], Any] | None:
    """Returns a run of the plain graph in its own session; None where the package has none."""
    if not (folder / PLAIN_MODEL).is_file():
        return None
    return graph_run(open_plain(folder, threads), manifest, inputs)


def named_bundles(bundles: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Gives each bundle its name, given or its task's, and `NAME-2` for a second of that name."""
    named: dict[str, Path] = {}
    for given in map(named_bundle, bundles):
        path = given.path
        task = name = given.name or read_bundle_file(path).task
        number = 1
        while name in named:
            number += 1
            name = f"{task[:56]}-{number}"
        named[name] = path
    return list(named.items())


def task_files(job: Job, named: list[tuple[str, Path]] | None = None) -> list[tuple[str, Path]]:
    """Lists as many names and files as the job wants tasks; copies follow the last bundle.

    Of the job's bundles, or of the `named` ones alone.
    """
    named = named_bundles(job.bundles) if named is None else named
    count = max(job.tasks, len(named)) if named else 0
    copies = [(f"copy-{i}", named[i % len(named)][1]) for i in range(len(named), count)]
    return named + copies


def folder_bytes(folder: Path) -> int:
    """Sums the bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def outputs_of(output: Output | MixedOutput) -> Any:
    """The logits of a run, row by row; its hidden states where a task that writes text has none."""
    no_logits = output.logits is None or any(own is None for own in output.logits)
    return output.hidden if no_logits else output.logits
