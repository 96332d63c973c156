"""Takes a safetensors file apart and puts it together again, right or wrong; repairs digests."""

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from random import Random
from typing import Any

from fuzz.mutators.json_values import NUMBERS, OTHERS, mutate_json, mutate_json_text, written

DTYPES = {"F32": 4, "F16": 2, "I8": 1, "U8": 1, "U16": 2, "U32": 4}
WRONG_DTYPES = ("F64", "BF16", "I16", "I64", "BOOL", "f32", "")
_DIGEST = re.compile(rb'"osd\.sha256"\s*:\s*"([0-9a-f]{64})"')
_BLANK = b"0" * 64


@dataclass
class TensorBytes:
    """A tensor: its type and shape as the header has them, and its bytes."""

    dtype: str
    shape: list[Any]
    data: bytes

    def reshape(self) -> None:
        """Makes the first dimension fit the bytes that there are."""
        sizes = [x if type(x) is int and x < 1 << 16 else 1 for x in self.shape[1:]]
        row = math.prod(sizes) * DTYPES.get(self.dtype, 1)
        self.shape[:1] = [len(self.data) // row if row > 0 else 0]


@dataclass
class Container:
    """A file's metadata and tensors, which a mutator changes as they lie here."""

    metadata: dict[str, Any]
    parts: dict[str, TensorBytes]

    @classmethod
    def of(cls, data: bytes) -> "Container | None":
        """Takes a file apart; None where its header is none."""
        try:
            (size,) = struct.unpack_from("<Q", data)
            header = json.loads(data[8 : 8 + min(size, 1 << 20)])
            metadata = header.pop("__metadata__")
            parts = {}
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                body = data[8 + size + begin : 8 + size + end]
                parts[name] = TensorBytes(str(entry["dtype"]), list(entry["shape"]), body)
            return cls(dict(metadata), parts)
        except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
            return None

    def header(self) -> dict[str, Any]:
        """Gives the header, offsets in the order of the tensors."""
        header: dict[str, Any] = {"__metadata__": self.metadata}
        at = 0
        for name, part in self.parts.items():
            end = at + len(part.data)
            header[name] = {"dtype": part.dtype, "shape": part.shape, "data_offsets": [at, end]}
            at = end
        return header

    def file(self, noise: Random) -> bytes:
        """Puts the file together: mostly right, now and then with a header that is not."""
        header: Any = self.header()
        kind = noise.randrange(24)
        if kind == 0:
            header = mutate_json(noise, header, ("__metadata__", "dtype", *DTYPES))
        elif kind < 3 and self.parts:
            _change_entry(noise, header)
        text = written(noise, header)
        if kind == 3:
            text = mutate_json_text(noise, text)
        head = text.encode("utf-8", "surrogatepass")
        if noise.random() < 0.3:
            head += b" " * (-len(head) % 8)
        return framed(noise, head, b"".join(part.data for part in self.parts.values()))


def framed(noise: Random, header: bytes, body: bytes) -> bytes:
    """Puts a header's length before it and the data after it; one in a hundred is wrong."""
    size = len(header)
    if noise.random() < 0.01:
        size = noise.choice((0, size - 1, size + 1, 1 << 20, (1 << 20) + 1, 1 << 32, (1 << 64) - 8))
    return struct.pack("<Q", max(size, 0)) + header + body


def repaired(data: bytes) -> bytes:
    """Gives the file with its digest made right, where it has one."""
    found = _DIGEST.search(data, 0, 8 + (1 << 20))
    if found is None:
        return data
    start, end = found.span(1)
    blank = data[:start] + _BLANK + data[end:]
    digest = hashlib.sha256(blank).hexdigest().encode()
    return data[:start] + digest + data[end:]


def _change_entry(noise: Random, header: dict[str, Any]) -> None:
    """Makes one tensor's entry disagree with its data, or with the others'."""
    entry = header[noise.choice([name for name in header if name != "__metadata__"])]
    kind = noise.randrange(6)
    if kind == 0:
        entry["dtype"] = noise.choice((*DTYPES, *WRONG_DTYPES))
    elif kind == 1:
        at = noise.randrange(2)
        entry["data_offsets"][at] = max(0, entry["data_offsets"][at] + noise.choice((-4, -1, 1, 4)))
    elif kind == 2:
        entry["data_offsets"][noise.randrange(2)] = noise.choice((*NUMBERS, *OTHERS))
    elif kind == 3 and entry["shape"]:
        entry["shape"][noise.randrange(len(entry["shape"]))] = noise.choice((*NUMBERS, *OTHERS))
    elif kind == 4:
        entry["shape"] = noise.choice(([], [0], [0, 2**47], [1] * 5, entry["shape"][::-1], None))
    else:
        entry.pop(noise.choice(list(entry)))
