"""Writes small models of SentencePiece, which is not needed for it: protobuf messages by hand.

Fields are those of sentencepiece_model.proto: pieces (text, score, type), the trainer's settings
and the normaliser's.
"""

import struct
from pathlib import Path

from tests.support import tiny

_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
_UNIGRAM = 1


def write_unigram(path: Path) -> Path:
    """A model of the words of `tiny`, without a normaliser; it takes single blanks alone."""
    letters = sorted({letter for word in tiny.WORDS for letter in word})
    pieces = [("<pad>", 0.0, _CONTROL), ("</s>", 0.0, _CONTROL), ("<unk>", 0.0, _UNKNOWN)]
    pieces += [(f"▁{word}", -2.0, _NORMAL) for word in tiny.WORDS]
    pieces += [(letter, -9.0, _NORMAL) for letter in ("▁", *letters)]
    body = b"".join(_message(1, _piece(*piece)) for piece in pieces)
    trainer = _whole(3, _UNIGRAM) + _whole(40, 2) + _whole(41, 1) + _whole(42, 1) + _whole(43, 0)
    normaliser = _message(1, b"identity") + _whole(3, 1) + _whole(4, 1) + _whole(5, 1)
    path.write_bytes(body + _message(2, trainer) + _message(3, normaliser))
    return path


def _piece(text: str, score: float, kind: int) -> bytes:
    return _message(1, text.encode()) + _key(2, 5) + struct.pack("<f", score) + _whole(3, kind)


def _message(field: int, body: bytes) -> bytes:
    return _key(field, 2) + _varint(len(body)) + body


def _whole(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low]) if not rest else bytes([low | 0x80]) + _varint(rest)
