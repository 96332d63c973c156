"""Folders below one that was given, where what was looked for is: a training's own checkpoints."""

from pathlib import Path

_SHOWN = 3


def given_instead(folder: Path, name: str) -> str:
    """Says which folders in `folder` hold a file `name`, to give instead; nothing where none do."""
    try:
        found = sorted(file.parent.name for file in folder.glob(f"*/{name}") if file.is_file())
    except OSError:
        return ""
    if not found:
        return ""
    more = ", …" if len(found) > _SHOWN else ""
    return f"; give one of the folders in it that have one: {', '.join(found[:_SHOWN])}{more}"
