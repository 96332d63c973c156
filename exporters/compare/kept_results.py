"""Results kept on disk one by one, so that an interrupted comparison goes on where it stopped.

A result is a JSON file named for what it holds and for a hash of everything that it depends
on, the code included: other inputs, or changed code, look for another file. It is written
atomically; a file that is damaged is computed anew.
"""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import osd_edge.data
import osd_edge.exporters
import osd_edge.formats
from osd_edge.data.examples import Example
from osd_edge.data.files import make_folder, write_file


class KeptResults:
    """Results in a folder, each in a file of its own."""

    def __init__(self, folder: Path) -> None:
        """Make the folder; raises OutputError."""
        make_folder(folder)
        self._folder = folder

    def get(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        """The result of `inputs`, None where it is not there or its file is damaged."""
        try:
            kept = json.loads(self._path(name, inputs).read_text("utf-8"))
            value = kept["value"]
            if kept["sha256"] == _digest(value) and isinstance(value, dict):
                return value
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def put(self, name: str, inputs: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        """Keep the result of `inputs`; raises OutputError."""
        kept = {"tool": _tool(), "inputs": inputs, "value": value, "sha256": _digest(value)}
        text = json.dumps(kept, indent=1, sort_keys=True)
        write_file(self._path(name, inputs), (text + "\n").encode())

    def _path(self, name: str, inputs: Mapping[str, Any]) -> Path:
        return self._folder / f"{result_name(name, inputs)}.json"


def result_name(name: str, inputs: Mapping[str, Any]) -> str:
    """`name` and a hash of `inputs` and of the tool's version and code."""
    return f"{name}-{_digest({'tool': _tool(), 'inputs': inputs})[:12]}"


@functools.cache
def _tool() -> str:
    """Version, and a hash of the source that a result is computed with."""
    digest = hashlib.sha256()
    # By the packages' own folders, wherever they are installed: a result that was computed with
    # other code must not be taken for one of this.
    for package in (osd_edge.data, osd_edge.formats, osd_edge.exporters):
        for folder in sorted(package.__path__):
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(file.read_bytes())
    return f"{osd_edge.__version__} {digest.hexdigest()[:12]}"


def examples_digest(examples: Sequence[Example]) -> str:
    """sha256 of the examples in their order."""
    return _digest([example_key(e) for e in examples])


def example_key(example: Example) -> list[Any]:
    """All of an example that a method or a score may depend on, as plain data."""
    messages = None if example.messages is None else [dict(m) for m in example.messages]
    return [example.label, example.text, example.text_pair, example.completion, messages]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
