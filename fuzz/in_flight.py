"""The input that a process works on, where another finds it if the process ends."""

import mmap
import struct
from pathlib import Path

from fuzz.limits import LARGEST_INPUT

_BYTES = 4 + 4 * LARGEST_INPUT  # seeds may be larger than mutants


class InFlight:
    """A file in memory that holds one input."""

    def __init__(self, path: Path) -> None:
        """Opens the file, making it where it is not there."""
        if not path.exists():
            path.write_bytes(bytes(_BYTES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _BYTES)

    def put(self, data: bytes) -> None:
        """Puts an input in."""
        struct.pack_into("<I", self._map, 0, len(data))
        self._map[4 : 4 + len(data)] = data

    def get(self) -> bytes:
        """Gives the input that was put in last."""
        (size,) = struct.unpack_from("<I", self._map, 0)
        return self._map[4 : 4 + size]
