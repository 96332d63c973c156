"""Compares the base that adapters say they are for with the one that is given.

Names prove nothing, since folders are moved and models are copied: another name is told, and
refuses nothing.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from osd_edge.exporters.models.checkpoint import Checkpoint


def other_bases(base: Checkpoint, given: str | Path, named: Sequence[str]) -> tuple[str, ...]:
    """Gives those of `named`, the bases that adapters name, which are no name of the base.

    `given` is what the base was opened by, a folder or a hub id.
    """
    own = {_last(name) for name in (*_names(base), str(given))}
    return tuple(name for name in dict.fromkeys(named) if _last(name) not in own)


def _names(base: Checkpoint) -> Iterator[str]:
    """Names of the base: its folder's, a hub cache's, and what its configuration calls it."""
    yield base.folder.resolve().name
    for folder in base.folder.resolve().parts:
        if folder.startswith("models--"):
            yield folder.replace("--", "/")
    fields = json.loads((base.folder / "config.json").read_text("utf-8"))
    name = fields.get("_name_or_path")
    if isinstance(name, str) and name:
        yield name


def _last(name: str) -> str:
    """The last part of a path or a hub id, whichever system wrote it."""
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1].lower()
