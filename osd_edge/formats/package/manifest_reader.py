"""Reads a base package's manifest, and checks its files against it.

Every field is checked before it is used: a folder from outside is refused with a code.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, TypeVar

from osd_edge.data.arguments import as_path, expect, expect_callable
from osd_edge.data.bounded_read import read_bounded
from osd_edge.data.own_errors import let_pass
from osd_edge.data.progress import Progress, silent
from osd_edge.data.staging import bring_back
from osd_edge.errors import BaseError, Code
from osd_edge.formats.container import parse_json
from osd_edge.formats.limits import MAX_DIMENSION
from osd_edge.formats.package.chat_template import chat_of
from osd_edge.formats.package.generation import ALL_LOGITS, Generation
from osd_edge.formats.package.graph_check import check_graph_file
from osd_edge.formats.package.manifest import (
    FACTOR_TYPES,
    FORMAT_VERSION,
    GENERATION_VERSION,
    MANIFEST,
    MODEL,
    PADDINGS,
    PIXELS,
    PLAIN_MODEL,
    TOKEN_INPUTS,
    TOKENIZER,
    VECTORS_VERSION,
    WEIGHTS,
    BaseManifest,
    ImageSettings,
    TextSettings,
)
from osd_edge.formats.package.open_folder import OpenFolder, open_folder
from osd_edge.formats.package.refusals import damaged, not_a_package, wrong_size
from osd_edge.formats.package.sites import Site
from osd_edge.formats.package.vectors import Vector

_MAX_MANIFEST_BYTES = 1 << 24
VERSIONS = (FORMAT_VERSION, GENERATION_VERSION, VECTORS_VERSION)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # never a path
# Larger than any model's, so that a manifest alone cannot ask for endless memory.
_MOST = {
    "context": 1 << 24,
    "vocabulary": 1 << 24,
    "layers": 1024,
    "heads": 4096,
    "head_size": 4096,
}
_MOST_STOPS = 256
T = TypeVar("T")


def read_manifest(folder: str | Path) -> BaseManifest:
    """Reads the manifest of the base package in `folder`; its files must be there, of right size.

    Args:
        folder: The package: `manifest.json`, the graph, its weights and, for text, the tokenizer.

    Returns:
        The manifest, every field of the right type and range. Digests are not checked, since that
        reads all weights: see `check_digests`.

    Raises:
        BaseError: `base.missing` for no package, `base.manifest` for a malformed manifest,
            `base.version` for one of another format, `base.file` for a file that is missing or
            has another size.
        InputError: `input.path` for a path that is none.

    >>> from pathlib import Path
    >>> from osd_edge import read_manifest
    >>> read_manifest(Path("base")).inputs
    ('input_ids', 'attention_mask', 'token_type_ids')
    """
    folder = as_path(folder, "folder")
    bring_back(folder)  # where a run was killed that was about to replace it
    with open_folder(folder) as held:
        return manifest_of(held)


def manifest_of(folder: OpenFolder) -> BaseManifest:
    """Reads the manifest of a folder that is held, as `read_manifest` does."""
    path = folder.path / MANIFEST
    folder.size(MANIFEST)  # which refuses a link, and looks at the file before it is read
    try:
        data = read_bounded(folder.root / MANIFEST, _MAX_MANIFEST_BYTES)
    except OSError as error:
        let_pass(error)
        raise not_a_package(folder.path, error.strerror or "") from error
    if data is None:
        raise BaseError(Code.BASE_MANIFEST, f"{path} is not a manifest: export the base again")
    try:
        text = data.decode()
    except ValueError as error:
        raise BaseError(
            Code.BASE_MANIFEST, f"{path} is not UTF-8: copy the base package again"
        ) from error
    manifest = parse_manifest(text, str(path))
    needed = {MODEL, WEIGHTS} | (set() if manifest.text is None else {TOKENIZER})
    if not needed <= set(manifest.files):
        raise BaseError(
            Code.BASE_MANIFEST,
            f"{path} does not list {', '.join(sorted(needed))}: export the base again",
        )
    for name, entry in manifest.files.items():
        found = folder.size(name)
        if found != entry["bytes"]:
            raise wrong_size(folder.path / name, found, entry["bytes"])
    return manifest


def parse_manifest(text: str, path: str = MANIFEST) -> BaseManifest:
    """Reads the manifest in `text`, every field of the right type and range; raises BaseError."""
    try:
        fields = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise BaseError(
            Code.BASE_MANIFEST, f"{path} is not JSON: copy the base package again"
        ) from error
    version = fields.get("format") if isinstance(fields, dict) else None
    if type(version) is not int or version not in VERSIONS:
        raise BaseError(
            Code.BASE_VERSION,
            f"{path} has format {str(version)[:20]!r}, this release reads {VERSIONS[0]} to "
            f"{VERSIONS[-1]}: update osd-edge, or export the base again",
        )
    try:
        return _checked(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise BaseError(
            Code.BASE_MANIFEST, f"{path} is malformed ({str(error)[:80]!r}): export the base again"
        ) from error


def _checked(fields: dict[str, Any]) -> BaseManifest:
    sites = tuple(_site(site) for site in _of(list, fields["sites"]))
    text = fields["text"]
    files = {
        name: {"bytes": _count(entry["bytes"]), "sha256": _matching(_DIGEST, entry["sha256"])}
        for name, entry in _of(dict, fields["files"]).items()
    }
    manifest = BaseManifest(
        family=_of(str, fields["family"]),
        fingerprint=_matching(_DIGEST, fields["fingerprint"]),
        hidden_size=_count(fields["hidden_size"]),
        inputs=tuple(_of(str, name) for name in _of(list, fields["inputs"])),
        hidden_output=_of(str, fields["hidden_output"]),
        pooler_output=None
        if fields["pooler_output"] is None
        else _of(str, fields["pooler_output"]),
        sites=sites,
        files=files,
        text=None
        if text is None
        else TextSettings(_count(text["max_length"]), _id(text["pad_id"])),
        image=None if fields.get("image") is None else _image(fields["image"]),
        made=_of(dict, fields["made"]),
        factors=_of(str, fields.get("factors", "fp32")),
        mixed_rows=_of(bool, fields.get("mixed_rows", True)),
        padding=_of(str, fields.get("padding", PADDINGS[0])),
        generation=None if fields.get("generation") is None else _generation(fields["generation"]),
        vectors=tuple(_vector(vector) for vector in _of(list, fields.get("vectors", []))),
    )
    if manifest.version > fields["format"]:
        raise ValueError("a format that has no decoders, or no vectors")
    generation = manifest.generation
    names = [*manifest.inputs]
    names += [name for branch in manifest.branches for name in (branch.u, branch.v)]
    names += [each.name for each in manifest.vector_inputs]
    names += [] if generation is None else [*generation.past, ALL_LOGITS]
    if len(set(names)) != len(names):
        raise ValueError("two graph inputs have one name")
    tokens = {"input_ids", "attention_mask"} <= set(manifest.inputs) <= set(TOKEN_INPUTS)
    if not tokens and manifest.inputs != (PIXELS,):
        raise ValueError("inputs")
    if manifest.padding not in PADDINGS:
        raise ValueError("padding")
    if manifest.factors not in FACTOR_TYPES:
        raise ValueError("factors")
    if manifest.image is not None and tokens:
        raise ValueError("image")
    if generation is not None and manifest.inputs != TOKEN_INPUTS[:2]:
        raise ValueError("generation")
    if len(manifest.vectors) > MAX_DIMENSION:
        raise ValueError("vectors")
    if not all(_FILE_NAME.fullmatch(name) for name in files):
        raise ValueError("files")
    return manifest


def _site(fields: dict[str, Any]) -> Site:
    u, v = fields["u"], fields["v"]
    if (u is None) != (v is None):
        raise ValueError("a site with one factor")
    return Site(
        _of(str, fields["name"]),
        _count(fields["n"]),
        _count(fields["d"]),
        None if u is None else _of(str, u),
        None if v is None else _of(str, v),
    )


def _vector(fields: object) -> Vector:
    given = _of(dict, fields)
    n = _count(given["n"], MAX_DIMENSION)
    return Vector(_of(str, given["name"]), n, _of(str, given["input"]))


def _generation(fields: object) -> Generation:
    given = _of(dict, fields)
    names = ("context", "vocabulary", "layers", "heads", "head_size")
    sizes = {name: _count(given[name], _MOST[name]) for name in names}
    stops = tuple(_id(stop) for stop in _of(list, given["stop_ids"]))
    if not 0 < len(stops) <= _MOST_STOPS or max(stops) >= sizes["vocabulary"]:
        raise ValueError("stop_ids")
    return Generation(
        **sizes,
        in_place=_of(bool, given["in_place"]),
        stop_ids=stops,
        chat=chat_of(given.get("chat")),
    )


def _image(fields: object) -> ImageSettings:
    given = _of(dict, fields)
    channels = _count(given["channels"])
    mean, std = (tuple(_number(x) for x in _of(list, given[key])) for key in ("mean", "std"))
    if len(mean) != channels or len(std) != channels or 0 in std:
        raise ValueError("mean or std")
    height, width = _count(given["height"]), _count(given["width"])
    return ImageSettings(height, width, channels, _number(given["scale"]), mean, std)


def _number(value: object) -> float:
    if type(value) not in (int, float) or not -1e6 < value < 1e6:  # type: ignore[operator]
        raise ValueError("a number out of range")
    return float(value)  # type: ignore[arg-type]


def _of(kind: type[T], value: object) -> T:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}")
    return value


def _count(value: object, most: int = 2**48 - 1) -> int:
    if not 0 < _of(int, value) <= most:
        raise ValueError("a number out of range")
    return _of(int, value)


def _id(value: object) -> int:
    if not 0 <= _of(int, value) < 2**31:
        raise ValueError("a token id out of range")
    return _of(int, value)


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not pattern.fullmatch(_of(str, value)):
        raise ValueError("a malformed digest")
    return _of(str, value)


def check_digests(folder: str | Path, manifest: BaseManifest, progress: Progress = silent) -> None:
    """Refuses a base package whose files differ from those that were exported, byte for byte.

    Also one whose graphs take weights from elsewhere, whatever their digests.

    Args:
        folder: The package.
        manifest: Its manifest, as `read_manifest` gives it.
        progress: Told of each file.

    Raises:
        BaseError: `base.digest` for a file with other bytes, `base.file` for one that cannot be
            read, `base.graph` for a graph that is malformed or takes weights from elsewhere.
        InputError: `input.path` for a path that is none, `input.type` for no manifest or no
            function.

    >>> from pathlib import Path
    >>> from osd_edge import check_digests, read_manifest
    >>> check_digests(Path("base"), read_manifest(Path("base")))
    """
    folder = as_path(folder, "folder")
    expect(manifest, BaseManifest, "manifest")
    expect_callable(progress, "progress")
    try:
        with open_folder(folder) as held:
            for name in progress(list(manifest.files), "Digests of the base package"):
                _check_file(held, name, manifest)
    except BaseError as error:
        if error.code != Code.BASE_MISSING:
            raise
        raise BaseError(
            Code.BASE_FILE, f"cannot read the files of {folder}: copy the base package again"
        ) from error


def _check_file(folder: OpenFolder, name: str, manifest: BaseManifest) -> None:
    if name in (MODEL, PLAIN_MODEL):
        check_graph_file(folder, name, manifest.files)
        return
    try:
        with (folder.root / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:  # ValueError: no name that a file can have
        let_pass(error)
        raise BaseError(
            Code.BASE_FILE, f"cannot read {folder.path / name}: copy the base package again"
        ) from error
    if digest != manifest.files[name]["sha256"]:
        raise damaged(folder.path / name)
