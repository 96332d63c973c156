"""Gives inputs to the JavaScript reader, in a process of Node's, and compares what it answers."""

import json
import os
import resource
import select
import shutil
import struct
import subprocess
import sys
from typing import Any

from fuzz.outcome import ACCEPTED, Fault, Observed
from fuzz.targets import seeds
from osd_edge.errors import BaseError
from osd_edge.formats.limits import SLOTS_PER_BYTE
from osd_edge.formats.package.manifest_reader import VERSIONS, parse_manifest

CORE = seeds.PROJECT / "runtime" / "web" / "build" / "src" / "core.js"
_READER = seeds.PROJECT / "fuzz" / "reader.mjs"
_KINDS = {"bundle": 1, "manifest": 2}
# Of a manifest: what the reader in JavaScript does not look at.
_UNUSED = ("generation", "image", "made", "mixed_rows", "padding", "vectors")
_DEEP = 16  # levels
_OF_HEADERS = {"bundle.header-json", "bundle.not-a-bundle", "bundle.version", "bundle.tensor-entry"}
_WAIT = 30.0  # seconds for a batch
MOST_SECONDS = 5.0  # for one input, on a machine that is busy
_MEGABYTES = 1024


def missing() -> str:
    """Says why no JavaScript reader can be asked; empty where one can."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not CORE.is_file():
        return "runtime/web is not built: make fuzz builds it"
    return ""


def _unlimited() -> None:
    """Takes back the limit of this process: V8 sets address space aside by the gigabyte."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


class JavaScriptReader:
    """The reader of runtime/web in Node, started when it is first asked."""

    def __init__(self, kind: str) -> None:
        """Takes the kind of input: `bundle` or `manifest`."""
        self._kind = _KINDS[kind]
        self._node: subprocess.Popen[bytes] | None = None

    def answers(self, inputs: list[bytes]) -> list[dict[str, Any]]:
        """Gives each input's answer: `facts`, a `code`, or a `crash`, and the `seconds` it took."""
        found = self._ask(inputs)
        if found is not None:
            return found
        # One of them ended the process, or takes too long: the others are asked again.
        alone = [self._ask([one]) for one in inputs]
        return [{"crash": "ends, or has no end"} if one is None else one[0] for one in alone]

    def close(self) -> None:
        """Ends the process."""
        if self._node is not None:
            self._node.kill()
            self._node.wait()
            assert self._node.stdin is not None and self._node.stdout is not None
            self._node.stdin.close()
            self._node.stdout.close()
            self._node = None

    def _ask(self, inputs: list[bytes]) -> list[dict[str, Any]] | None:
        node = self._node = self._node or self._start()
        assert node.stdin is not None and node.stdout is not None
        batch = struct.pack("<I", len(inputs))
        for one in inputs:
            batch += struct.pack("<BI", self._kind, len(one)) + one
        try:
            node.stdin.write(batch)
            node.stdin.flush()
            text = self._read(node.stdout.fileno(), len(inputs))
        except OSError:
            text = None
        if text is None:
            self.close()
            return None
        return [json.loads(line, parse_int=_number) for line in text.splitlines()]

    def _read(self, file: int, lines: int) -> bytes | None:
        parts: list[bytes] = []
        while lines > 0:
            if not select.select([file], [], [], _WAIT)[0]:
                return None
            part = os.read(file, 1 << 20)
            if not part:
                return None
            parts.append(part)
            lines -= part.count(b"\n")
        return b"".join(parts)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [
                *("node", f"--max-old-space-size={_MEGABYTES}", str(_READER), CORE.as_uri()),
                *(seeds.base_manifest(), str(SLOTS_PER_BYTE)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=_unlimited if sys.platform == "linux" else None,
        )


def compare(data: bytes, outcome: Observed, answer: dict[str, Any]) -> None:
    """Raises Fault where the JavaScript reader's answer to `data` is not Python's outcome."""
    if "crash" in answer:
        raise Fault("the JavaScript reader fails", answer["crash"][:900])
    if answer["seconds"] > MOST_SECONDS:
        raise Fault("the JavaScript reader takes long", f"{answer['seconds']:.1f} s")
    code = answer.get("code", ACCEPTED)
    if code != outcome.code and not _may_differ(data, outcome.code, code):
        message = answer.get("message", "")[:300]
        raise Fault(f"JavaScript: {code}, Python: {outcome.code}", message)
    if outcome.code == code == ACCEPTED and isinstance(outcome.facts, dict):
        for key, value in json.loads(json.dumps(outcome.facts)).items():
            other = answer["facts"].get(key)
            if value != other:
                detail = f"JavaScript {other!r:.300}, Python {value!r:.300}"
                raise Fault(f"JavaScript and Python differ in {key}", detail)


def _may_differ(data: bytes, python: str, javascript: str) -> bool:
    """Says that both answers are right.

    Which code a header gets that nests deeper than anything valid is left to the parser. A manifest
    may be wrong in fields that the JavaScript runtime has no use for, and of a version that only
    Python reads.
    """
    if javascript == "base.version":
        return _version(data) in VERSIONS[1:]
    if (javascript, python) == (ACCEPTED, "base.manifest"):
        return _right_without(data, _UNUSED)
    depth = deepest = 0
    for octet in data[8 : 8 + (1 << 20)]:
        depth += (octet in b"[{") - (octet in b"]}")
        deepest = max(deepest, depth)
    return deepest > _DEEP and {python, javascript} <= _OF_HEADERS


def _version(data: bytes) -> object:
    try:
        return json.loads(data)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _right_without(data: bytes, names: tuple[str, ...]) -> bool:
    fields = json.loads(data)
    rest = {key: value for key, value in fields.items() if key not in names} | {"made": {}}
    try:
        parse_manifest(json.dumps(rest))
    except BaseError:
        return False
    return True


def _number(text: str) -> int | float:
    # JavaScript writes a double of up to 21 digits without its exponent, the last ones as zeros.
    return int(text) if len(text) < 16 else float(text)
