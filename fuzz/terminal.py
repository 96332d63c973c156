"""Catches what code writes to the terminal, in whatever language it is written."""

import os
import sys
import tempfile

_MOST = 2000  # bytes that are told


class Terminal:
    """The process's standard output and error, turned into a file while a reader runs."""

    def __init__(self) -> None:
        """Makes the file."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process
        self._own = [os.dup(1), os.dup(2)]

    def turn_away(self) -> None:
        """Turns both into the file."""
        self._flush()
        for stream in (1, 2):
            os.dup2(self._file.fileno(), stream)

    def turn_back(self) -> str:
        """Makes both what they were; gives what was written in between."""
        self._flush()
        for stream, own in zip((1, 2), self._own, strict=True):
            os.dup2(own, stream)
        if not os.fstat(self._file.fileno()).st_size:
            return ""
        self._file.seek(0)
        text = self._file.read(_MOST).decode(errors="replace")
        self._file.seek(0)
        self._file.truncate()
        return text

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        for own in self._own:
            os.close(own)

    def _flush(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
