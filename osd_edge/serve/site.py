"""Writes the page, its base and its tasks into a folder, for any web server of files."""

from collections.abc import Mapping
from pathlib import Path

from osd_edge.data.files import staged_folder
from osd_edge.errors import Code, InputError
from osd_edge.serve.served_file import ServedFile

_PIECE = 1 << 20


def write_site(entries: Mapping[str, ServedFile], out: Path) -> None:
    """Writes each address of `entries` as a file below the new folder `out`.

    All addresses in the page and in its catalogue are relative, so that the folder may stand at a
    server's root or below a path.

    Raises OutputError as `staged_folder` does; InputError `input.data` where a file changed since
    it was looked at.
    """
    with staged_folder(out) as folder:
        for address, entry in entries.items():
            if address.endswith("/"):
                continue  # of index.html, which web servers answer with
            to = folder / address[1:]
            to.parent.mkdir(parents=True, exist_ok=True)
            with entry.open() as file, to.open("wb") as copy:
                if file is None:
                    raise InputError(
                        Code.INPUT_DATA, f"{address} was replaced while it was read: run it again"
                    )
                while piece := file.read(_PIECE):
                    copy.write(piece)
