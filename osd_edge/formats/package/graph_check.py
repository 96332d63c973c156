"""Checks a graph file of a base package before onnxruntime, which opens whatever a graph names."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osd_edge.errors import BaseError, Code, shown
from osd_edge.formats.package.graph_walk import ExternalTensor, external_tensors
from osd_edge.formats.package.manifest import MODEL, PLAIN_MODEL, BaseManifest
from osd_edge.formats.package.open_folder import OpenFolder, open_folder
from osd_edge.formats.package.refusals import damaged

# A graph with its weights beside it has kilobytes; to look at each field of so much takes seconds.
MOST_GRAPH_BYTES = 8 << 20
ListedFiles = Mapping[str, Mapping[str, Any]]


def check_graph_file(folder: OpenFolder, name: str, files: ListedFiles) -> set[str]:
    """Refuses a graph file that is malformed, or that takes weights from elsewhere.

    Args:
        folder: The package.
        name: The graph's file.
        files: Every file of the package with its `bytes` and `sha256`, as the manifest lists them.

    Returns:
        The files that its weights are in.

    Raises:
        BaseError: `base.graph` for a graph that is malformed, or whose weights are not within a
            listed file; `base.file` for a missing file, `base.digest` for other bytes.
    """
    file = folder.path / name
    if files[name]["bytes"] > MOST_GRAPH_BYTES:
        raise BaseError(
            Code.BASE_GRAPH,
            f"{file} has {files[name]['bytes']} bytes, expected at most {MOST_GRAPH_BYTES}: "
            "weights belong into a file beside the graph; export the base again",
        )
    graph = folder.read(name, files[name]["bytes"])
    locations = set()
    try:
        for tensor in external_tensors(graph):
            # Names of listed files are never paths, so that nothing but the package is read.
            size = files.get(tensor.location, {"bytes": -1})["bytes"]
            if tensor.offset + tensor.length > size:
                raise _elsewhere(file, tensor)
            locations.add(tensor.location)
    except ValueError as error:
        raise BaseError(
            Code.BASE_GRAPH,
            f"{file} is no graph of a base package ({shown(str(error), 100)}): "
            "copy the base package again",
        ) from error
    if hashlib.sha256(graph).hexdigest() != files[name]["sha256"]:
        raise damaged(file)
    return locations


def _elsewhere(file: Path, tensor: ExternalTensor) -> BaseError:
    return BaseError(
        Code.BASE_GRAPH,
        f"{file} takes weights from {shown(repr(tensor.location), 100)}, byte {tensor.offset} to "
        f"{tensor.offset + tensor.length}: expected a place within a file of the package, do not "
        "use this one",
    )


def check_graphs(folder: Path, manifest: BaseManifest) -> None:
    """Refuses a package whose graph, or graph without branches, `check_graph_file` refuses.

    Also (`base.manifest`) a graph without branches that the manifest does not list.
    """
    with open_folder(folder) as held:
        for name in (MODEL, PLAIN_MODEL):
            if name in manifest.files:
                check_graph_file(held, name, manifest.files)
            elif held.size(name) is not None:
                raise BaseError(
                    Code.BASE_MANIFEST,
                    f"{folder} has {name}, which its manifest does not list: export the base again",
                )
