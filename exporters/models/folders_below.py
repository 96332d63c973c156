"""Says what lies below a folder that was given, such as a training's own checkpoints."""

from pathlib import Path

_SHOWN = 3
_LONGEST = 80  # characters of a part of a path, whose bytes no file system is above


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


def is_inside(path: str) -> bool:
    """Says whether `path`, as a model's own file names it, stays in the model's folder."""
    parts = path.split("/")
    plain = path.isprintable() and "\\" not in path and not Path(path).is_absolute()
    return plain and all(part != ".." and len(part) <= _LONGEST for part in parts)
