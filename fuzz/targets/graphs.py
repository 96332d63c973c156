"""Checks mutated graph files, opens base packages with them, and runs a task over what opens."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from fuzz.mutators.messages import mutate_message
from fuzz.outcome import ACCEPTED, Fault, Observed
from fuzz.targets import seeds
from fuzz.targets.target import Reader, Target
from osd_edge.errors import BaseError, Code, TaskError
from osd_edge.formats.package.graph_check import MOST_GRAPH_BYTES, check_graphs
from osd_edge.formats.package.graph_walk import external_tensors
from osd_edge.formats.package.manifest import MANIFEST, MODEL, PLAIN_MODEL, BaseManifest
from osd_edge.formats.package.manifest_reader import read_manifest
from osd_edge.runtime import EdgeSession

_IDS = np.array([[2, 4, 6, 9, 3, 0], [2, 5, 7, 3, 0, 0]])
_MASK = (_IDS != 0).astype(np.int64)
_TASK = "coded.osd.safetensors"


def graphs() -> list[bytes]:
    """Reads the graphs of releases' packages."""
    return [(folder / MODEL).read_bytes() for folder in seeds.packages()]


def opened(folder: Path) -> Reader:
    """Gives what opens a package that has the graph for its own, and runs a batch with a task."""
    package = seeds.packages()[0]
    task = package.parent / _TASK
    for path in package.iterdir():
        # As files: a package's weights may be no link.
        (folder / path.name).write_bytes(path.read_bytes())
    fields = json.loads((package / MANIFEST).read_text("utf-8"))

    def run(data: bytes) -> Observed:
        (folder / MODEL).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        fields["files"][MODEL] = {"bytes": len(data), "sha256": digest}
        (folder / MANIFEST).write_text(json.dumps(fields), "utf-8")
        session = EdgeSession(folder, threads=1)
        session.activate(session.load(task))
        try:
            output = session.run({"input_ids": _IDS, "attention_mask": _MASK})
        except TaskError as error:
            if error.code != Code.TASK_NOT_FINITE:
                raise
            return Observed(str(error.code))  # numbers of the graph that no check of its form sees
        arrays = (output.hidden, output.logits, output.pooled)
        if not all(array is None or np.isfinite(array).all() for array in arrays):
            raise Fault("answers that are not finite")
        return Observed(ACCEPTED, (str(output.hidden.shape),))

    return run


def checked(folder: Path) -> Reader:
    """Gives what checks a graph file alone: no onnxruntime, so many more of them."""
    package = seeds.packages()[0]
    manifest = read_manifest(package)
    files = {name: entry for name, entry in manifest.files.items() if name != PLAIN_MODEL}

    def run(data: bytes) -> Observed:
        (folder / PLAIN_MODEL).unlink(missing_ok=True)
        (folder / MODEL).write_bytes(data)
        listed = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        found = replace(manifest, files={**files, MODEL: listed})
        check_graphs(folder, found)
        taken = {tensor.location for tensor in external_tensors(data)}
        if not taken <= set(found.files):
            raise Fault("weights from elsewhere", str(taken))
        (folder / PLAIN_MODEL).write_bytes(data)
        check_graphs(folder, replace(found, files={**found.files, PLAIN_MODEL: listed}))
        _refused(folder, found, "base.manifest")  # which does not list the second graph
        large = {**listed, "bytes": MOST_GRAPH_BYTES + 1}
        _refused(folder, replace(found, files={**found.files, MODEL: large}), "base.graph")
        other = {**listed, "sha256": "0" * 64}
        _refused(folder, replace(found, files={**found.files, MODEL: other}), "base.digest")
        return Observed(ACCEPTED, (len(taken),))

    return run


def _refused(folder: Path, manifest: BaseManifest, code: str) -> None:
    try:
        check_graphs(folder, manifest)
    except BaseError as error:
        if error.code == code:
            return
    raise Fault(f"graphs that are not refused with {code}")


GRAPH_FILE = Target(
    "graph-file",
    graphs,
    mutate_message,
    checked,
    frozenset({"base"}),
    share=0.05,
    inputs=0.09,
)

GRAPH = Target(
    "graph",
    graphs,
    mutate_message,
    opened,
    frozenset({"base", "input"}),
    share=0.2,
    inputs=0.01,
    seconds=5.0,
    headroom=2 << 30,
    counted=False,  # onnxruntime is written in C++
)
