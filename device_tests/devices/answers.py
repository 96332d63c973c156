"""Checks the form of what the agent on a device says: the device may be any machine at all."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from osd_edge.device_tests.devices.agent import MARK
from osd_edge.device_tests.install.platform import Platform
from osd_edge.device_tests.report.rules import CODE
from osd_edge.errors import Code, DeviceError, refusal_of, shown

LONGEST_LINE = 64 << 20  # a report, whole, is the longest that it says; most are below 1 MiB
_MARK = MARK.encode()
_TYPES = {"hello": dict, "unpacked": str, "line": str, "report": str, "exit": int}
_TYPES |= {"error": dict, "alive": bool}
_PACKAGES = ("numpy", "onnxruntime", "osd-edge")
_MOST_BYTES = 10**18
_EXITS = 1 << 32


@dataclass(frozen=True)
class Facts:
    """Facts that decide what is copied: versions of packages there, None where one is missing."""

    platform: Platform
    packages: dict[str, str | None]
    free_bytes: int


def answer_error(host: str, what: object) -> DeviceError:
    """Makes the refusal of an answer that no agent of this release gives."""
    return DeviceError(
        Code.DEVICE_ANSWER,
        f"{shown(host)} answered what no agent of this release does ({shown(str(what), 100)}): "
        "is this the device that it should be?",
    )


def read_answers(stream: IO[bytes], host: str) -> Iterator[dict[str, Any]]:
    """Reads answers from `stream` until it ends, without what else a login shell prints.

    Raises DeviceError: `device.answer`, or the one that the agent says.
    """
    while line := stream.readline(LONGEST_LINE):
        if len(line) >= LONGEST_LINE:
            raise answer_error(host, "a line without end")
        if not line.startswith(_MARK):
            continue
        try:
            answer = _answer(line[len(_MARK) :])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise answer_error(host, error) from error
        if "error" in answer:
            code, message = answer["error"]["code"], answer["error"]["message"]
            raise refusal_of(code, f"on {shown(host)}: {shown(message, 200)}")
        yield answer


def read_facts(hello: dict[str, Any], host: str) -> Facts:
    """Reads the facts that the agent begins with. Raises DeviceError `device.answer`."""
    try:
        return _facts(hello)
    except (KeyError, TypeError, ValueError) as error:
        raise answer_error(host, error) from error


def _answer(data: bytes) -> dict[str, Any]:
    answer = json.loads(data.decode())
    if not isinstance(answer, dict):
        raise TypeError("no object")
    for name, kind in _TYPES.items():
        if name in answer and type(answer[name]) is not kind:
            raise TypeError(f"{name} is no {kind.__name__}")
    if not -_EXITS < answer.get("exit", 0) < _EXITS:
        raise ValueError("an exit code")
    if "error" in answer:
        _text(answer["error"]["message"], 10**6)
        if not CODE.fullmatch(_text(answer["error"]["code"], 64)):
            raise ValueError("an error's code")
    return answer


def _facts(hello: dict[str, Any]) -> Facts:
    packages, glibc = hello["packages"], hello["glibc"]
    return Facts(
        platform=Platform(
            machine=_text(hello["machine"], 64),
            bits=_whole(hello["bits"], 128),
            python=_version(hello["python"]),
            glibc=None if glibc is None else _version(glibc),
        ),
        packages={
            name: None if packages[name] is None else _text(packages[name], 64)
            for name in _PACKAGES
        },
        free_bytes=_whole(hello["free_bytes"], _MOST_BYTES),
    )


def _version(parts: Any) -> tuple[int, int]:
    major, minor = parts
    return _whole(major, 99), _whole(minor, 999)


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise TypeError(f"expected text of at most {longest} characters")
    return value


def _whole(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise TypeError(f"expected a number from 0 to {most}")
    return value
