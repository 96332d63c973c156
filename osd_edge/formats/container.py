"""Reads the safetensors container strictly, and writes it deterministically.

The layout is safetensors' own (8-byte header length, JSON header, tensor data), so any
safetensors reader opens a bundle. It is read here because each refusal needs its own stable
code, and written here because equal inputs must give equal bytes (the safetensors package
writes metadata in hash order).
"""

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import BundleError, Code, shown

Array = NDArray[Any]

MAX_HEADER_BYTES = 1 << 20  # a header of ours is a few KiB; a larger one is not a bundle
_DTYPES = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1", "U16": "<u2", "U32": "<u4"}
_NAMES = {np.dtype(numpy_name): name for name, numpy_name in _DTYPES.items()}
DIGEST_KEY = "osd.sha256"
SIGNATURE_KEY = "osd.signature"
_SIGNATURE = re.compile(r"[0-9a-f]{144}")  # 16 digits of the key's id, 128 of the signature
_BLANK = "0" * 64


def pack(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Writes a safetensors file as bytes, with the digest filled in under `osd.sha256`.

    Tensors with wide elements come first, so that every tensor is aligned. Raises BundleError
    `bundle.header-length` for more metadata than a file may have.
    """
    # The digest comes first: a fingerprint of zeros must not be taken for it.
    rest = {key: value for key, value in metadata.items() if key != DIGEST_KEY}
    header: dict[str, object] = {"__metadata__": {DIGEST_KEY: _BLANK, **rest}}
    chunks = []
    offset = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
        array = tensors[name]
        chunk = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(chunk)],
        }
        offset += len(chunk)
        chunks.append(chunk)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise BundleError(
            Code.BUNDLE_HEADER_LENGTH,
            f"expected a header of at most {MAX_HEADER_BYTES} bytes, found {len(text)}: give "
            "shorter labels, or fewer",
        )
    blank = struct.pack("<Q", len(text)) + text + b"".join(chunks)
    return blank.replace(_BLANK.encode(), hashlib.sha256(blank).hexdigest().encode(), 1)


def read_header(data: bytes) -> tuple[dict[str, str], dict[str, Any], int]:
    """Reads a file's metadata, unchecked tensor entries, and the offset of its data section.

    Raises BundleError. `read_tensors` comes later, so that a file of a later version is refused for
    its version, whatever its tensors look like.
    """
    if len(data) < 8:
        raise BundleError(
            Code.BUNDLE_TOO_SHORT,
            f"expected at least 8 bytes, found {len(data)}: not a task bundle",
        )
    (header_bytes,) = struct.unpack_from("<Q", data)
    if header_bytes > MAX_HEADER_BYTES or 8 + header_bytes > len(data):
        raise BundleError(
            Code.BUNDLE_HEADER_LENGTH,
            f"the header claims {header_bytes} bytes, in a file of {len(data)} bytes: "
            "truncated, or not a task bundle",
        )
    header = _parse_header(data[8 : 8 + header_bytes])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BundleError(Code.BUNDLE_HEADER_JSON, "__metadata__ is not an object of strings")
    return metadata, header, 8 + header_bytes


def check_digest(data: bytes, metadata: Mapping[str, str]) -> None:
    """Refuses a file whose bytes differ from those that were written.

    The digest is sha256 over the whole file, with the 64 digits of the digest itself as zeros.
    """
    digest = metadata.get(DIGEST_KEY, "")
    at = _found_once(data, digest) if len(digest) == 64 else None
    if at is None:
        raise BundleError(
            Code.BUNDLE_DIGEST,
            f"expected {DIGEST_KEY} once, as 64 hex digits: damaged; copy it again",
        )
    blank = hashlib.sha256(data[:at])
    blank.update(_BLANK.encode())
    blank.update(memoryview(data)[at + 64 :])
    if blank.hexdigest() != digest:
        raise BundleError(
            Code.BUNDLE_DIGEST,
            f"the bytes give sha256 {blank.hexdigest()[:12]}…, the file says "
            f"{shown(digest[:12])}…: damaged; copy it again",
        )


def check_signature(data: bytes, metadata: Mapping[str, str]) -> None:
    """Refuses a signature, where there is one, whose digits could not be found to be blanked.

    Whether it is a signature of the file by a key that is trusted is not checked here.
    """
    signature = metadata.get(SIGNATURE_KEY)
    if signature is None:
        return
    if not _SIGNATURE.fullmatch(signature) or _found_once(data, signature) is None:
        raise BundleError(
            Code.BUNDLE_SIGNATURE, f"expected {SIGNATURE_KEY} once, as 144 hex digits"
        )


def _found_once(data: bytes, digits: str) -> int | None:
    """The place of `digits` in the header's bytes; None unless they stand there exactly once."""
    end = 8 + struct.unpack_from("<Q", data)[0]
    at = data.find(digits.encode(), 8, end)
    return None if at < 0 or data.find(digits.encode(), at + 1, end) >= 0 else int(at)


def parse_json(text: str) -> Any:
    """Parses strict JSON; raises ValueError also for what Python alone accepts.

    That is: a key twice in one object, NaN, half of a surrogate pair, nesting without end.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_integer
        )
        json.dumps(value, ensure_ascii=False).encode()  # fails on half a surrogate pair
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _parse_header(text: bytes) -> dict[str, Any]:
    try:
        header = parse_json(text.decode())
    except ValueError as error:
        raise BundleError(Code.BUNDLE_HEADER_JSON, f"the header is not JSON ({error})") from error
    if not isinstance(header, dict) or not text.startswith(b"{"):
        raise BundleError(Code.BUNDLE_HEADER_JSON, "the header is not a JSON object")
    return header


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key[:40]!r} stands twice")
        result[key] = value
    return result


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _integer(text: str) -> int | float:
    # Nothing here has 16 digits; Python would parse thousands of them, and take -0 for 0.
    return int(text) if len(text.lstrip("-")) < 16 and text != "-0" else float(text)


def read_tensors(data: bytes, entries: Mapping[str, Any], start: int) -> dict[str, Array]:
    """Reads tensors as read-only views of `data`, every offset checked; raises BundleError.

    Neither the digest nor the meaning of anything is checked here.
    """
    spans = []
    for name, entry in entries.items():
        spans.append((*_span(name, entry), name))
    spans.sort(key=lambda span: span[:2])
    position = 0
    for begin, end, *_, name in spans:
        if begin != position:
            raise BundleError(
                Code.BUNDLE_TENSOR_LAYOUT,
                f"tensor {name[:80]!r} begins at {begin}, expected {position}: a gap or an overlap",
            )
        position = end
    if start + position > len(data):
        raise BundleError(
            Code.BUNDLE_TRUNCATED,
            f"expected {start + position} bytes, found {len(data)}: truncated; copy it again",
        )
    if start + position < len(data):
        raise BundleError(
            Code.BUNDLE_TRAILING_BYTES,
            f"expected {start + position} bytes, found {len(data)}: something was appended",
        )
    return {
        name: np.frombuffer(data, dtype, math.prod(shape), start + begin).reshape(shape)
        for begin, _, dtype, shape, name in spans
    }


def _span(name: str, entry: object) -> tuple[int, int, np.dtype[Any], tuple[int, ...]]:
    """Begin and end in the data section, element type and shape of one header entry."""
    problem = BundleError(
        Code.BUNDLE_TENSOR_ENTRY, f"the entry of tensor {name[:80]!r} is malformed"
    )
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise problem
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise problem
    for numbers in (shape, offsets):
        # bool is an int in Python; 2**48 keeps every product below exact and small
        if not isinstance(numbers, list) or len(numbers) > 4:
            raise problem
        if not all(type(x) is int and 0 <= x < 2**48 for x in numbers):
            raise problem
    # Zero dimensions apart, so that no array library overflows on the others.
    if len(offsets) != 2 or math.prod(x or 1 for x in shape) >= 2**48:
        raise problem
    numpy_dtype = np.dtype(_DTYPES[dtype])
    if offsets[1] - offsets[0] != math.prod(shape) * numpy_dtype.itemsize:
        raise BundleError(
            Code.BUNDLE_TENSOR_ENTRY,
            f"tensor {name[:80]!r} has {offsets[1] - offsets[0]} bytes for {dtype} {shape}",
        )
    return offsets[0], offsets[1], numpy_dtype, tuple(shape)
