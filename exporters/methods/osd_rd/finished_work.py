"""Finished work of osd-rd in a folder: statistics and columns, layer by layer, and refinements.

An export that was broken off takes them up. They also wait there until they are needed, since
together they may be more than fits in memory.

Every file is a safetensors file with the sha256 of what it holds and the key of what it was
computed from: one that is damaged or of another export is computed again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from osd_edge.data.files import output_error
from osd_edge.errors import Code, OutputError
from osd_edge.exporters.methods.osd_rd.feedback import Metric, Part
from osd_edge.exporters.methods.osd_rd.moments import Moment, Sketch
from osd_edge.exporters.methods.osd_rd.statistics import Statistics
from osd_edge.exporters.methods.osd_rd.whitening import Columns, LayerMetric

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class StoredStatistics:
    """Statistics in a file; `load` reads them."""

    path: Path

    def load(self) -> Statistics:
        """The statistics, mapped from the file."""
        tensors, facts = _read(self.path)
        a, g = (_moment(tensors, facts, side) for side in ("a", "g"))
        return Statistics(a, g, facts["weight"])


@dataclass(frozen=True)
class StoredMetric:
    """A metric in a file; `side` of the columns, u or v."""

    path: Path
    side: str
    mean: float

    def load(self) -> Metric:
        """The metric, mapped from the file."""
        tensors, facts = _read(self.path, only=f"{self.side}.")
        count = facts["parts"][self.side]
        orders = (tensors[f"{self.side}.order.{i}"] for i in range(count))
        uppers = (tensors[f"{self.side}.upper.{i}"] for i in range(count))
        return Metric(tuple(map(Part, orders, uppers)), self.mean)


class FinishedWork:
    """Files in `folder` of the export that `key` describes: equal keys give equal files."""

    def __init__(self, folder: Path, key: str) -> None:
        """Read nothing yet."""
        self._folder, self._key = folder, key
        self._verified: set[Path] = set()

    def statistics(self, name: str) -> StoredStatistics | None:
        """The statistics of the layer `name`, where they are finished."""
        path = self._path("statistics", name)
        return StoredStatistics(path) if self._holds(path) else None

    def put_statistics(self, name: str, statistics: Statistics) -> StoredStatistics:
        """Keep the statistics of the layer `name`."""
        path = self._path("statistics", name)
        tensors: Tensors = {}
        facts: dict[str, Any] = {"weight": statistics.weight}
        for side, moment in (("a", statistics.a), ("g", statistics.g)):
            if isinstance(moment, Sketch):
                tensors[side], facts[side] = moment.rows, moment.damping
            elif moment is not None:
                tensors[side] = moment
        self._write(path, tensors, facts)
        return StoredStatistics(path)

    def columns(self, name: str) -> Columns | None:
        """The columns of the layer `name`, where they are finished."""
        path = self._path("columns", name)
        return self._columns(path) if self._holds(path) else None

    def put_columns(self, name: str, columns: Columns) -> Columns:
        """Keep the columns of the layer `name`; their metrics then stay in the file."""
        path = self._path("columns", name)
        tensors = {"u": columns.u, "v": columns.v, "singular": columns.singular}
        facts: dict[str, Any] = {"weight": columns.weight, "parts": {}, "means": {}}
        for side, shaping in (("u", columns.metric_u), ("v", columns.metric_v)):
            if shaping is not None:
                parts = shaping.load().parts
                facts["parts"][side], facts["means"][side] = len(parts), shaping.mean
                for i, part in enumerate(parts):
                    tensors[f"{side}.order.{i}"] = part.order
                    tensors[f"{side}.upper.{i}"] = part.upper
        self._write(path, tensors, facts)
        return self._columns(path)

    def refinement(self, name: str) -> tuple[Tensors, dict[str, Any]] | None:
        """The state of the refinement `name`, and facts about it, where there is one."""
        path = self._path("refinement", name)
        return _read(path) if self._holds(path) else None

    def put_refinement(self, name: str, tensors: Tensors, facts: Mapping[str, Any]) -> None:
        """Keep the state of the refinement `name` in the place of an earlier one."""
        self._write(self._path("refinement", name), tensors, facts)

    def _columns(self, path: Path) -> Columns:
        tensors, facts = _read(path, only=("u", "v", "singular"))

        def metric(side: str) -> LayerMetric | None:
            mean = facts["means"].get(side)
            return None if mean is None else StoredMetric(path, side, mean)

        u, v, singular = (tensors[name].clone() for name in ("u", "v", "singular"))
        return Columns(u, v, singular, facts["weight"], metric("u"), metric("v"))

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / f"{kind}-{name}.safetensors"

    def _holds(self, path: Path) -> bool:
        """Says whether the file is there and is what was written to it, for this key."""
        if path in self._verified:
            return True
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            tensors, facts = _read(path)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return False
        if metadata.get("key") != self._key or metadata.get("sha256") != digest(tensors, facts):
            return False
        self._verified.add(path)
        return True

    def _write(self, path: Path, tensors: Tensors, facts: Mapping[str, Any]) -> None:
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        metadata = {
            "key": self._key,
            "sha256": digest(whole, facts),
            "facts": json.dumps(facts),
        }
        part = path.with_suffix(".part")
        try:
            save_file(whole, part, metadata)
            part.replace(path)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise output_error(path, error) from error
            raise OutputError(Code.OUTPUT_UNWRITABLE, f"cannot write {path}: {error}") from error
        self._verified.add(path)


def _read(path: Path, only: str | tuple[str, ...] = "") -> tuple[Tensors, dict[str, Any]]:
    """Tensors of a file, those whose names begin with (or are among) `only`; and its facts."""
    with safe_open(path, framework="pt") as file:
        names = [
            name
            for name in file.keys()  # noqa: SIM118  (not a mapping)
            if (name in only if isinstance(only, tuple) else name.startswith(only))
        ]
        facts: dict[str, Any] = json.loads(file.metadata()["facts"])
        return {name: file.get_tensor(name) for name in names}, facts


def _moment(tensors: Tensors, facts: Mapping[str, Any], side: str) -> Moment:
    if side not in tensors:
        return None
    return Sketch(tensors[side], facts[side]) if side in facts else tensors[side]


def digest(tensors: Tensors, facts: Mapping[str, Any]) -> str:
    """64 hex digits for tensors, by name, and facts about them."""
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
