"""Keeps what a long demonstration has finished, so that a run that was broken off goes on there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osd_edge.data.files import make_folder, write_file


@dataclass(frozen=True)
class KeptParts:
    """The finished parts of a demonstration, in a folder: a small JSON file tells of each.

    A part is what was made of a `key`: settings, and digests of what went in. Whatever the key of
    another run differs in, the part is made anew.
    """

    folder: Path

    def part(
        self,
        name: str,
        key: Mapping[str, Any],
        make: Callable[[], Mapping[str, Any]],
        files: tuple[Path, ...] = (),
    ) -> dict[str, Any]:
        """Gives what `make` tells of a part: as it told last, where key and files are there still.

        `make` writes the files, if any, before it returns.
        """
        file = self.folder / f"{name}.json"
        wanted = _plain(key)
        told = _told(file)
        if told.get("key") == wanted and all(path.is_file() for path in files):
            kept: dict[str, Any] = told["told"]
            return kept
        made = _plain(make())
        make_folder(file.parent)
        data = json.dumps({"key": wanted, "told": made}, ensure_ascii=False, indent=1)
        write_file(file, f"{data}\n".encode())
        return made


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain


def _told(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):  # none yet, or none of ours
        return {}
    return fields if isinstance(fields, dict) and isinstance(fields.get("told"), dict) else {}
