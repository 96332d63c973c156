"""Taking a bundle apart and putting it together again, by other code than that under test."""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Tensor:
    """A tensor as the header and the data section give it; any of it may be made wrong."""

    dtype: str
    shape: list[Any]
    data: bytes


@dataclass(frozen=True)
class Draft:
    """A bundle's metadata and tensors, to be changed and put together again."""

    meta: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, data: bytes) -> "Draft":
        """The parts of a well-formed file."""
        size = struct.unpack_from("<Q", data)[0]
        header = json.loads(data[8 : 8 + size])
        meta = header.pop("__metadata__")
        tensors = {}
        for name, entry in header.items():
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            tensors[name] = Tensor(entry["dtype"], entry["shape"], data[begin:end])
        return cls(meta, tensors)

    def with_meta(self, changed: dict[str, Any]) -> "Draft":
        """A draft with these metadata values."""
        return replace(self, meta=self.meta | changed)

    def without_meta(self, key: str) -> "Draft":
        """A draft without one metadata key."""
        return replace(self, meta={k: v for k, v in self.meta.items() if k != key})

    def with_tensor(self, name: str, dtype: str, shape: list[Any], data: bytes) -> "Draft":
        """A draft with a tensor added or replaced."""
        return replace(self, tensors=self.tensors | {name: Tensor(dtype, shape, data)})

    def with_numbers(self, name: str, dtype: str, shape: list[Any], *numbers: float) -> "Draft":
        """A draft with a tensor of these numbers."""
        code = {"F32": "f", "F16": "e", "I8": "b", "U8": "B", "U16": "H", "U32": "I"}[dtype]
        return self.with_tensor(name, dtype, shape, struct.pack(f"<{len(numbers)}{code}", *numbers))

    def without_tensor(self, name: str) -> "Draft":
        """A draft without one tensor."""
        return replace(self, tensors={k: v for k, v in self.tensors.items() if k != name})

    def with_head(self, **changed: Any) -> "Draft":
        """A draft with fields of `osd.head` changed."""
        return self.with_meta({"osd.head": json.dumps(json.loads(self.meta["osd.head"]) | changed)})

    def with_layer(self, **changed: Any) -> "Draft":
        """A draft with fields of the only layer in `osd.head` changed."""
        (layer,) = json.loads(self.meta["osd.head"])["layers"]
        return self.with_head(layers=[layer | changed])

    def parts(self) -> tuple[dict[str, Any], bytes]:
        """Header and data section, tensors in the order they stand in here."""
        header: dict[str, Any] = {"__metadata__": self.meta}
        body = b""
        for name, tensor in self.tensors.items():
            header[name] = {
                "dtype": tensor.dtype,
                "shape": tensor.shape,
                "data_offsets": [len(body), len(body) + len(tensor.data)],
            }
            body += tensor.data
        return header, body

    def text(self) -> str:
        """The header's text, the digest not yet computed."""
        return json.dumps(self.parts()[0], separators=(",", ":"), ensure_ascii=False)

    def sealed(self, change: Callable[[str], str] = lambda text: text) -> bytes:
        """The file, its header's text changed, then the digest computed."""
        return seal(change(self.text()), self.parts()[1])

    def with_entry(self, name: str, **changed: Any) -> bytes:
        """The file with fields of one tensor's entry changed (None: left out)."""
        header, body = self.parts()
        entry = header[name] | changed
        header[name] = {key: value for key, value in entry.items() if value is not None}
        return seal(json.dumps(header, separators=(",", ":")), body)


def frame(header: bytes, body: bytes) -> bytes:
    """A file of any header and data section, whatever they are."""
    return struct.pack("<Q", len(header)) + header + body


def seal(text: str, body: bytes) -> bytes:
    """A file whose digest, where it has one, is right; its data section is aligned."""
    header = text.encode("utf-8", "surrogatepass")
    header += b" " * (-len(header) % 8)
    key = header.find(b'"osd.sha256"')
    if key < 0:
        return frame(header, body)
    start = header.find(b'"', header.find(b":", key)) + 1
    blank = header[:start] + b"0" * 64 + header[start + 64 :]
    digest = hashlib.sha256(frame(blank, body)).hexdigest().encode()
    return frame(header[:start] + digest + header[start + 64 :], body)


def flip(data: bytes, at: int, bit: int = 0) -> bytes:
    """`data` with one bit flipped."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
