"""Notices that a weights file was written to while a session has it mapped.

onnxruntime maps weights rather than copying them, so a program that writes to the file in place
changes what a session computes, and one that cuts it off ends the process (SIGBUS). A file that is
replaced by a rename is another one: the session keeps what it opened.
"""

import hashlib

from osd_edge.data.own_errors import let_pass
from osd_edge.errors import BaseError, Code
from osd_edge.formats.package.open_folder import OpenFolder, Stamp


class WeightsWatch:
    """A weights file as it was when a session opened it.

    Looking takes some microseconds; only a file of which anything has changed is read whole.
    Safe to use from many threads.
    """

    def __init__(self, folder: OpenFolder, name: str, sha256: str) -> None:
        """Takes the file `name` of a package that is being opened, and the digest that it has."""
        self._file = folder.file(name)
        self._stamp = folder.stamp(name)
        self._sha256 = sha256

    def check(self) -> None:
        """Refuses a file that was written to since.

        Raises BaseError `base.file` for one of another size, `base.digest` for other bytes.
        """
        was = self._stamp
        assert was is not None
        try:
            now = Stamp.of(self._file.stat())
            if now == was or (now.device, now.inode) != (was.device, was.inode):
                return  # as it was; or another file has its name, and the mapped one is as it was
            code = Code.BASE_FILE
            if now.size == was.size:
                code = Code.BASE_DIGEST
                with self._file.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() == self._sha256:
                        self._stamp = now  # the same bytes: it was touched, or has another name
                        return
        except OSError as error:  # gone, and so is nobody's to write to
            let_pass(error)
            return
        raise BaseError(
            code,
            f"{self._file} was written to while a session has it open, and is not as its manifest "
            "has it: copy the package again and open a new session; replace packages by a rename",
        )
