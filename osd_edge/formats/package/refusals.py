"""The refusals of a base package's files, each in the same words wherever it is found."""

from pathlib import Path

from osd_edge.errors import BaseError, Code
from osd_edge.formats.package.manifest import MANIFEST


def not_a_package(folder: Path, why: str) -> BaseError:
    """Makes the refusal of a folder in which no manifest can be read."""
    return BaseError(
        Code.BASE_MISSING,
        f"{folder} is not a base package: cannot read {MANIFEST} ({why}); "
        "make one with 'osd-edge export base'",
    )


def wrong_size(file: Path, found: int | None, expected: int) -> BaseError:
    """Makes the refusal of a file that has `found` bytes, or None, in the place of `expected`."""
    state = "is missing" if found is None else f"has {found} bytes"
    return BaseError(
        Code.BASE_FILE, f"{file} {state}, expected {expected} bytes: copy the base package again"
    )


def too_large(file: Path, found: int, most: int) -> BaseError:
    """Makes the refusal of a file that is read whole and has `found` bytes, more than `most`."""
    return BaseError(
        Code.BASE_FILE, f"{file} has {found} bytes, expected {most} at most: export the base again"
    )


def damaged(file: Path) -> BaseError:
    """Makes the refusal of a file whose bytes are not those that were exported."""
    return BaseError(Code.BASE_DIGEST, f"{file} is damaged: copy the base package again")


def a_link(file: Path) -> BaseError:
    """Makes the refusal of a file that is a link, other than those of a hub's cache."""
    return BaseError(
        Code.BASE_FILE, f"{file} is a link, which may lead anywhere: copy the file itself there"
    )


def restless(folder: Path) -> BaseError:
    """Makes the refusal of a folder whose files change as often as it is opened."""
    return BaseError(
        Code.BASE_FILE,
        f"{folder} changes while it is opened: expected a package at rest, open it again when "
        "whatever writes there is done",
    )
