"""Damaged bundles, and what Python's reader makes of each: the JavaScript reader has to agree."""

import json
import random
import struct
from pathlib import Path
from typing import Any

from surgery import flip, seal  # of vectors/

from osd_edge.device_tests.conformance.hashes import decoded_sha256
from osd_edge.errors import BundleError
from osd_edge.formats.bundle.reader import read_bundle

_VALID = Path(__file__).parents[2] / "vectors" / "v1" / "valid"
_FILES = 3000
# What a header is likely to be wrong in: digits, signs, its own punctuation, other scripts.
_CHARACTERS = tuple('0123456789-+.eE"{}[]:,\\ntaf \x00é😀')
# What a key's JSON is likely to be wrong in: other types, the ends of ranges, words of other keys.
_SETTINGS = ("osd.labels", "osd.head", "osd.text", "osd.probe")
_VALUES: tuple[Any, ...] = (
    *(0, -1, -0.0, 0.5, 1, 1.0, 2, 16, 17, 65535, 65536, 2**31 - 1, 2**31, 10**15, 10**20, 1e300),
    *(True, False, None, "", "x", "start,end", "none", "logits", "left", "spans"),
    *([], {}, [1], ["x"]),
)
_KEYS = ("text", "pair", "ids", "seed", "logits", "tokens", "prompt", "normalize", "rank", "x")


def write_damaged(folder: Path) -> None:
    """`damaged.bin`, the files one after the other, and `damaged.json`, one entry for each.

    An entry is the file's `bytes`, and the code that refuses it, or else the hash of all that it
    decodes to. Most files have a digest that is right, since any damage is found by it alone.
    """
    noise = random.Random(2511)
    sources = [path.read_bytes() for path in sorted(_VALID.iterdir())]
    files = [_damaged(noise.choice(sources), noise) for _ in range(_FILES)]
    entries = [{"bytes": len(data), **_verdict(data)} for data in files]
    (folder / "damaged.bin").write_bytes(b"".join(files))
    (folder / "damaged.json").write_text(json.dumps(entries), "utf-8")


def _damaged(data: bytes, noise: random.Random) -> bytes:
    if noise.random() < 0.1:
        return _cut_or_flipped(data, noise)
    if noise.random() < 0.3:
        return _with_other_settings(data, noise)
    (length,) = struct.unpack_from("<Q", data)
    header, body = data[8 : 8 + length].decode(), bytearray(data[8 + length :])
    for _ in range(noise.randint(1, 3)):
        kind = noise.random()
        if kind < 0.2:
            at = noise.randrange(len(header))
            header = header[:at] + noise.choice(_CHARACTERS) + header[at + noise.randint(0, 1) :]
        elif kind < 0.4 or not body:
            at = noise.choice([i for i, character in enumerate(header) if character.isdigit()])
            header = header[:at] + noise.choice("0123456789") + header[at + 1 :]
        else:  # in place, but for one in ten
            at, size = noise.randrange(len(body)), noise.choice((1, 2, 4))
            body[at : at + size] = noise.randbytes(size + noise.choice((0,) * 9 + (1,)))
    return seal(header, bytes(body))


def _cut_or_flipped(data: bytes, noise: random.Random) -> bytes:
    at = noise.randrange(len(data))
    return data[:at] if noise.random() < 0.5 else flip(data, at, noise.randrange(8))


def _with_other_settings(data: bytes, noise: random.Random) -> bytes:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata = header["__metadata__"]
    key = noise.choice([key for key in _SETTINGS if key in metadata][-2:])
    metadata[key] = json.dumps(_changed(json.loads(metadata[key]), noise))
    return seal(json.dumps(header), data[8 + length :])


def _changed(value: Any, noise: random.Random) -> Any:
    """`value` with one of its parts replaced, left out or doubled, or under another key."""
    if not isinstance(value, (dict, list)) or not value or noise.random() < 0.2:
        return noise.choice(_VALUES)
    keys = sorted(value) if isinstance(value, dict) else range(len(value))
    key = noise.choice(keys)
    kind = noise.random()
    if kind < 0.6:
        value[key] = _changed(value[key], noise)
    elif kind < 0.8:
        del value[key]
    elif isinstance(value, dict):
        value[noise.choice(_KEYS)] = value[key]
    else:
        value.insert(key, value[key])
    return value


def _verdict(data: bytes) -> dict[str, str]:
    try:
        bundle = read_bundle(data)
    except BundleError as error:
        return {"code": error.code}
    return {"sha256": decoded_sha256(bundle)}
