"""A conversation's file: what was said, its tokens, and the keys that a task made of them.

The file is a safetensors container, like a task's, with the metadata `osd.conversation` and its
own digest. It is read strictly, and names the base package and the task that its keys are of: over
others they would give other answers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osd_edge.data.bounded_read import read_bounded
from osd_edge.data.own_errors import let_pass
from osd_edge.errors import BundleError, Code, ConversationError, InputError
from osd_edge.formats.container import (
    DIGEST_KEY,
    MAX_HEADER_BYTES,
    Array,
    check_digest,
    pack,
    parse_json,
    read_header,
    read_tensors,
)
from osd_edge.formats.heads import Floats
from osd_edge.formats.package.chat import Message, messages_of
from osd_edge.formats.package.generation import Generation
from osd_edge.formats.package.manifest import MODEL, WEIGHTS, BaseManifest
from osd_edge.runtime.generation.conversation_limits import ConversationLimits

_VERSION = "1"
_KEYS = {"osd.conversation", "osd.base", "osd.package", "osd.task", "osd.limits", DIGEST_KEY}
_MOST_TEXT = 1 << 26  # bytes of all messages: more than any context's tokens are


@dataclass(frozen=True)
class SavedConversation:
    """A conversation as a file has it, but for its keys.

    `task` and `digest` are those of the task that the keys are of, None for the base alone.
    """

    messages: tuple[Message, ...]
    task: str | None
    digest: str | None
    limits: ConversationLimits
    tokens: tuple[int, ...]


def conversation_bytes(
    manifest: BaseManifest, saved: SavedConversation, state: Floats | None
) -> bytes:
    """Gives the bytes of a conversation's file; `state` has the keys of its first tokens."""
    said = json.dumps([asdict(message) for message in saved.messages], ensure_ascii=False)
    tensors: dict[str, Array] = {
        "messages": np.frombuffer(said.encode(), np.uint8),
        "tokens": np.array(saved.tokens, np.uint32),
    }
    if state is not None:
        tensors["keys"] = state
    metadata = {
        "osd.conversation": _VERSION,
        "osd.base": manifest.fingerprint,
        "osd.package": _package(manifest),
        "osd.task": json.dumps([saved.task, saved.digest]),
        "osd.limits": json.dumps(asdict(saved.limits)),
    }
    return pack(tensors, metadata)


def read_conversation(
    path: Path, manifest: BaseManifest, facts: Generation
) -> tuple[SavedConversation, Floats | None]:
    """Reads a conversation over the base of `manifest`, and its keys where it has some.

    Raises ConversationError `conversation.file`, and `conversation.base` for one of another base
    package.
    """
    most = MAX_HEADER_BYTES + _MOST_TEXT + facts.context * (facts.bytes_of_a_token + 4)
    try:
        data = read_bounded(path, most)
    except OSError as error:
        let_pass(error)
        raise _no_file(path, error.strerror or "it cannot be read") from error
    if data is None:
        raise _no_file(path, f"it has more than {most} bytes")
    try:
        metadata, entries, start = read_header(data)
        if metadata.get("osd.conversation") != _VERSION or set(metadata) != _KEYS:
            raise ValueError("it is no conversation of this release")
        check_digest(data, metadata)
        tensors = read_tensors(data, entries, start)
        if metadata["osd.base"] != manifest.fingerprint or (
            metadata["osd.package"] != _package(manifest)
        ):
            raise ConversationError(
                Code.CONVERSATION_BASE,
                f"{path} is of another base package than this session's: restore it over that one",
            )
        return _checked(metadata, tensors, facts)
    except (BundleError, InputError, ValueError) as error:
        raise _no_file(path, str(error)) from error


def _checked(
    metadata: Mapping[str, str], tensors: Mapping[str, Array], facts: Generation
) -> tuple[SavedConversation, Floats | None]:
    if not {"messages", "tokens"} <= set(tensors) <= {"messages", "tokens", "keys"}:
        raise ValueError("other tensors than a conversation's")
    said, tokens, state = tensors["messages"], tensors["tokens"], tensors.get("keys")
    if said.dtype != np.uint8 or said.ndim != 1:
        raise ValueError("its messages are no text")
    if tokens.dtype != np.uint32 or tokens.ndim != 1 or len(tokens) > facts.context:
        raise ValueError("its tokens are none of the base's")
    if len(tokens) and tokens.max() >= facts.vocabulary:
        raise ValueError("its tokens are none of the base's")
    listed = parse_json(said.tobytes().decode())
    if not isinstance(listed, list):
        raise ValueError("its messages are no list")
    if len(listed) > facts.context:
        raise ValueError("more messages than tokens")
    messages = tuple(messages_of(listed)) if listed else ()
    task, digest = _task(parse_json(metadata["osd.task"]))
    if state is not None:
        of_base = (len(facts.past), facts.heads, *state.shape[2:3], facts.head_size)
        if state.dtype != np.float32 or state.shape != of_base:
            raise ValueError("its keys are not of the base's shape")
        if not 0 < state.shape[2] <= len(tokens) or not np.isfinite(state).all():
            raise ValueError("its keys are not those of its tokens")
    limits = _limits(parse_json(metadata["osd.limits"]))
    if len(tokens) > limits.tokens(facts):
        raise ValueError("it is longer than its own limits")
    return SavedConversation(messages, task, digest, limits, tuple(tokens.tolist())), state


def _task(value: Any) -> tuple[str | None, str | None]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("its task is malformed")
    task, digest = value
    if (task is None) != (digest is None) or not all(isinstance(x, str | None) for x in value):
        raise ValueError("its task is malformed")
    return task, digest


def _limits(value: Any) -> ConversationLimits:
    if not isinstance(value, dict) or set(value) != set(ConversationLimits.__dataclass_fields__):
        raise ValueError("its limits are malformed")
    return ConversationLimits(**value).checked()


def _package(manifest: BaseManifest) -> str:
    """A digest of the package's graph and weights, which keys depend on."""
    digests = "".join(manifest.files[name]["sha256"] for name in (MODEL, WEIGHTS))
    return hashlib.sha256(digests.encode()).hexdigest()


def _no_file(path: Path, why: str) -> ConversationError:
    return ConversationError(Code.CONVERSATION_FILE, f"cannot restore {path}: {why}")
