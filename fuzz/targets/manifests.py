"""Reads manifests of base packages, and checks a package's files against them."""

import json
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutators.json_values import mutate_json, mutate_json_text, written
from fuzz.mutators.octets import mutate_octets
from fuzz.outcome import ACCEPTED, Fault, Observed
from fuzz.targets import seeds
from fuzz.targets.target import Reader, Target
from osd_edge.errors import BaseError, InputError
from osd_edge.formats.package.chat import Message, messages_of
from osd_edge.formats.package.chat_template import Chat
from osd_edge.formats.package.manifest import (
    GENERATION_VERSION,
    MANIFEST,
    PIXELS,
    TOKEN_INPUTS,
    VECTORS_VERSION,
    BaseManifest,
)
from osd_edge.formats.package.manifest_reader import check_digests, parse_manifest, read_manifest

_WORDS = (
    *(*TOKEN_INPUTS, PIXELS, "fp16", "fp32", "model.onnx", "model.onnx.data", "tokenizer.json"),
    *(
        "padding",
        "right",
        "generation",
        "chat",
        "roles",
        "user",
        "stop_ids",
        "context",
        "in_place",
        "trim",
        "source",
    ),
    *("image", "text", "u", "v", "bytes", "sha256", "mixed_rows", "factors", "made", "../x"),
    *(None, True, False, [0.5, 0.5, 0.5], {"max_length": 8, "pad_id": 0}, "\ufeff"),
)
_PICTURES = {
    "height": 8,
    "width": 8,
    "channels": 3,
    "scale": 0.5,
    "mean": [0.5] * 3,
    "std": [1] * 3,
}
_GENERATION = {
    "context": 64,
    "vocabulary": 9,
    "layers": 1,
    "heads": 1,
    "head_size": 4,
    "in_place": True,
    "stop_ids": [2],
    "chat": None,
}
_CHAT = {
    "begin": "",
    "roles": {"system": ["<", ">"], "user": ["<", ">"], "assistant": ["<", ">"]},
    "answer": "<",
    "default_system": "be kind",
    "trim": ["user"],
    "merge_system": False,
}
_TEMPLATE = {"source": "{% if messages[0].role != 'user' %}{{ 1 / 0 }}{% endif %}x"}
_LONG = {"source": "{% for i in range(90000) %}{{ 'a text of some length' }}{% endfor %}"}
_CHATS: tuple[object, ...] = (
    *(None, _CHAT, _CHAT | {"merge_system": True, "default_system": None}, 3),
    *(_CHAT | {"roles": {"tool": ["", ""]}}, _CHAT | {"trim": ["tool"]}, _CHAT | {"begin": 3}),
    *(_CHAT | {"roles": {"user": [""]}}, _CHAT | {"merge_system": 1}, {"begin": ""}),
    *(_CHAT | {"in_turns": True}, _CHAT | {"in_turns": 3}, _CHAT | {"forget": "b"}),
    *(_TEMPLATE | {"bos": "", "eos": ""}, _TEMPLATE, _LONG | {"bos": "", "eos": ""}),
)
_USER, _ASSISTANT = {"role": "user", "content": " a "}, {"role": "assistant", "content": "b"}
_SYSTEM = {"role": "system", "content": "c"}
_CONVERSATIONS: tuple[object, ...] = (
    *([_USER], [_SYSTEM, _USER, _ASSISTANT, _USER], [_SYSTEM], [_USER, _SYSTEM]),
    *([_SYSTEM, _ASSISTANT], [Message("user", "d")], [{"role": "tool", "content": "e"}]),
    *([], "f", [3], [{"role": "user"}], [{"role": "user", "content": 3}]),
    [{"role": "user", "content": "\ud800"}],
)


def manifests() -> list[bytes]:
    """Reads the manifests of the vectors and of releases, and makes small ones of all fields."""
    texts = [seeds.base_manifest()]
    texts += [(folder / MANIFEST).read_text("utf-8") for folder in seeds.packages()]
    fields = json.loads(texts[1])  # whose files are there
    small = fields | {"sites": fields["sites"][:1], "factors": "fp16", "mixed_rows": False}
    pictures = small | {"inputs": [PIXELS], "text": None, "image": _PICTURES}
    first = small["sites"][0]
    packed = small | {
        "format": GENERATION_VERSION,
        "inputs": list(TOKEN_INPUTS[:2]),
        "padding": "right",
        "sites": [first, first | {"name": "beside", "n": 8}],
    }
    writing = [packed | {"generation": _GENERATION | {"chat": chat}} for chat in _CHATS]
    writing.append(packed | {"generation": _GENERATION | {"stop_ids": [9]}})
    changes = [{"name": name, "n": 8, "input": "changes"} for name in ("a.bias", "b.bias")]
    vectors = small | {"format": VECTORS_VERSION, "vectors": changes}
    made = (
        small,
        pictures,
        vectors,
        packed | {"padding": "left"},
        small | {"inputs": list(TOKEN_INPUTS), "generation": _GENERATION, "format": 2},
        packed | {"generation": _GENERATION, "format": 1},
        *writing,
    )
    return [text.encode() for text in (*texts, *map(json.dumps, made))]


def mutate_manifest(noise: Random, data: bytes, other: bytes) -> bytes:
    """Gives a mutant of a manifest: its fields, its text or its bytes changed."""
    kind = noise.random()
    try:
        text = data.decode()
        value = json.loads(text) if kind < 0.8 else None
    except (ValueError, RecursionError):
        return mutate_octets(noise, data, other)
    if kind < 0.8:
        _splice(noise, value, other)
        for _ in range(noise.choice((0, 1, 1, 2, 3))):
            value = mutate_json(noise, value, _WORDS)
        text = written(noise, value)
    elif kind < 0.95:
        text = mutate_json_text(noise, text)
    else:
        return mutate_octets(noise, data, other)
    return text.encode("utf-8", "surrogatepass")


def _splice(noise: Random, value: Any, other: bytes) -> None:
    """Now and then, puts a field of another manifest in, or changes a file's name or digest."""
    if not isinstance(value, dict) or noise.random() > 0.2:
        return
    files = value.get("files")
    if isinstance(files, dict) and files and noise.random() < 0.4:
        name, entry = files.popitem()
        if isinstance(entry, dict) and noise.random() < 0.5:
            files[name] = entry | {"sha256": "0" * 64}
        else:
            files[noise.choice(("../x", "a/b", "", ".", "model.onnx", "a" * 101))] = entry
        return
    try:
        source = json.loads(other)
    except (ValueError, RecursionError):
        return
    if isinstance(source, dict) and source:
        key = noise.choice(list(source))
        value[key] = source[key]


def opened(folder: Path) -> Reader:
    """Gives what reads a manifest as text, then as the file of a package."""
    package = seeds.packages()[0]
    for path in package.iterdir():
        if path.name != MANIFEST:
            (folder / path.name).write_bytes(path.read_bytes())
    manifest_file = folder / MANIFEST

    def run(data: bytes) -> Observed:
        manifest_file.write_bytes(data)
        try:
            found = read_manifest(folder)
            check_digests(folder, found)
            files = ACCEPTED
            _refused_when_gone(folder, found)
        except BaseError as error:
            files = str(error.code)
            if error.code == "base.manifest" and " UTF-8" in str(error):
                raise
        manifest = parse_manifest(data.decode())
        if parse_manifest(manifest.to_json()) != manifest:
            raise Fault("a manifest that is written and read is another one")
        return Observed(ACCEPTED, _trail(manifest, files), _facts(manifest))

    return run


def _refused_when_gone(folder: Path, manifest: BaseManifest) -> None:
    try:
        check_digests(folder / "gone", manifest)
    except BaseError as error:
        if error.code == "base.file":
            return
    raise Fault("a package that is gone passes for one that is whole")


def _trail(manifest: BaseManifest, files: str) -> tuple[object, ...]:
    inputs = len(manifest.inputs)
    settings = (manifest.text is None, manifest.image is None, manifest.pooler_output is None)
    packed = len(manifest.branches) < len(manifest.sites)
    sites = min(len(manifest.sites), 2)
    return (files, inputs, sites, manifest.factors, *settings, packed, _conversations(manifest))


def _conversations(manifest: BaseManifest) -> tuple[str, ...]:
    """Renders conversations in the form that the manifest states; gives how each ended."""
    if manifest.generation is None or manifest.generation.chat is None:
        return ()
    return tuple(_rendered(manifest.generation.chat, messages) for messages in _CONVERSATIONS)


def _rendered(chat: Chat, given: object) -> str:
    try:
        return f"{len(chat.render(messages_of(given)))} segments"
    except (InputError, BaseError) as error:
        return str(error.code)


def _facts(m: BaseManifest) -> Any:
    return {
        "names": [m.family, m.fingerprint, m.hidden_output, m.pooler_output, m.factors],
        "size": m.hidden_size,
        "inputs": list(m.inputs),
        "sites": [[site.name, site.n, site.d, site.u, site.v] for site in m.sites],
        "files": [[name, entry["bytes"], entry["sha256"]] for name, entry in m.files.items()],
        "text": None if m.text is None else [m.text.max_length, m.text.pad_id],
    }


MANIFEST_TARGET = Target(
    "manifest",
    manifests,
    mutate_manifest,
    opened,
    frozenset({"base"}),
    share=0.1,
    inputs=0.14,
    seconds=1.0,  # digests of a package's files are among it
    twin="manifest",
)
