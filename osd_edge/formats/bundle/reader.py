"""Reads a task bundle that may be damaged or hostile.

Every number in the file is checked against the file's own size before anything is allocated
from it. The order of the checks is part of the format, so that every reader gives the same
code for the same file: header, format version, layout, digest, keys, sites, labels, head, text
settings, probe, slots, and only then whatever must be decoded.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from osd_edge.data.arguments import as_path, expect
from osd_edge.data.bounded_read import read_bounded
from osd_edge.data.own_errors import let_pass
from osd_edge.errors import BundleError, Code
from osd_edge.formats.bundle.coded_reader import CodedReader
from osd_edge.formats.bundle.facts import LayerFacts
from osd_edge.formats.bundle.head_reader import read_head
from osd_edge.formats.bundle.model import FINGERPRINT, FORMAT_VERSION, Bundle, check_sequence
from osd_edge.formats.bundle.plain_reader import PlainReader, take
from osd_edge.formats.bundle.probe import Probe, read_probe
from osd_edge.formats.bundle.slots import check_slots
from osd_edge.formats.bundle.text import TaskText, read_text
from osd_edge.formats.bundle.vectors import VectorsReader
from osd_edge.formats.container import (
    DIGEST_KEY,
    SIGNATURE_KEY,
    check_digest,
    check_signature,
    parse_json,
    read_header,
    read_tensors,
)
from osd_edge.formats.kinds import format_kind
from osd_edge.formats.limits import TASK_NAME

MAX_BUNDLE_BYTES = 1 << 31

_REQUIRED_KEYS = (
    "osd.format",
    "osd.task",
    "osd.task_version",
    "osd.base",
    "osd.site_count",
    "osd.labels",
    "osd.head",
    DIGEST_KEY,
)
_OPTIONAL_KEYS = ("osd.sequence", SIGNATURE_KEY, "osd.text", "osd.probe")
_IGNORABLE = "info."  # keys and tensors so named may be unknown; any other must be understood


def read_bundle_file(path: str | Path) -> Bundle:
    """Reads and checks the task bundle in the file `path`.

    Args:
        path: A regular file of up to 2 GiB.

    Returns:
        The bundle, checked as `read_bundle` does. It holds the file's bytes in memory.

    Raises:
        BundleError: `bundle.missing` where the file cannot be read, else as `read_bundle`; the
            message names the file.
        InputError: `input.path` for a path that is none.

    >>> from pathlib import Path
    >>> from osd_edge import read_bundle_file
    >>> bundle = read_bundle_file(Path("colours.osd.safetensors"))
    >>> bundle.labels
    ('red', 'green', 'blue')
    """
    path = as_path(path, "path")
    data = read_bundle_bytes(path)
    with refusals_of(path):
        return read_bundle(data)


def read_bundle_bytes(path: Path) -> bytes:
    """Reads the bytes of the file `path`, unchecked.

    Raises BundleError `bundle.missing`, or `bundle.header-length` above 2 GiB.
    """
    try:
        data = read_bounded(path, MAX_BUNDLE_BYTES)
    except OSError as error:
        let_pass(error)
        raise BundleError(
            Code.BUNDLE_MISSING, f"cannot read {path}: {error.strerror or error}"
        ) from error
    if data is None:
        raise BundleError(Code.BUNDLE_HEADER_LENGTH, f"{path} is too large: not a task bundle")
    return data


# Codes of refusals that already tell what to do.
_ADVISED = frozenset(
    {
        *(Code.BUNDLE_TOO_SHORT, Code.BUNDLE_HEADER_LENGTH, Code.BUNDLE_NOT_A_BUNDLE),
        *(Code.BUNDLE_VERSION, Code.BUNDLE_KEY_UNKNOWN, Code.BUNDLE_HEAD_KIND),
        *(Code.BUNDLE_TRUNCATED, Code.BUNDLE_DIGEST, Code.BUNDLE_SLOTS),
    }
)


@contextmanager
def refusals_of(path: Path) -> Iterator[None]:
    """Makes refusals of a bundle that are raised inside this context name the file `path`."""
    try:
        yield
    except BundleError as error:
        words = str(error)
        if error.code not in _ADVISED:
            words += ": copy the file again, or export the task again"
        raise BundleError(error.code, f"{path}: {words}") from error


def stored_labels(data: bytes) -> tuple[str, ...]:
    """Reads the labels alone from `data`, which `read_bundle` has read before."""
    return _read_labels(read_header(data)[0]["osd.labels"])


def stored_kind(data: bytes) -> str:
    """Reads the head's kind alone from `data`, which `read_bundle` has read before."""
    kind: str = parse_json(read_header(data)[0]["osd.head"])["kind"]
    return kind


def read_bundle(data: bytes) -> Bundle:
    """Reads and checks the task bundle in `data`; what it is to fit, `check_fits` checks.

    `data` may come from anywhere: memory is bounded by its size before anything is allocated, and
    every rule of the format is checked, the digest and all coded integers too.

    Args:
        data: The bytes of a whole file.

    Returns:
        The bundle. Its arrays are read-only views of `data`; factors are decoded on demand.

    Raises:
        BundleError: The data breaks a rule. `docs/bundle-format.md` lists the codes in the order
            of the checks.
        InputError: `input.type` for other than bytes.

    >>> from pathlib import Path
    >>> from osd_edge import BundleError, read_bundle
    >>> data = Path("colours.osd.safetensors").read_bytes()
    >>> read_bundle(data).task
    'coded'
    >>> try:
    ...     read_bundle(data[:-1])
    ... except BundleError as error:
    ...     print(error.code)
    bundle.truncated
    """
    metadata, entries, start = read_header(expect(data, bytes, "data"))
    _check_version(metadata)
    tensors = read_tensors(data, entries, start)
    check_digest(data, metadata)
    _check_keys(metadata)
    check_signature(data, metadata)
    known = {name: array for name, array in tensors.items() if not name.startswith(_IGNORABLE)}
    site_count = _number(metadata["osd.site_count"])
    reader: CodedReader | PlainReader
    if "osd.coded" in known:
        reader = CodedReader(take(known, "osd.coded", ("u1",), 1), site_count)
    else:
        reader = PlainReader(known, site_count)
    labels = _read_labels(metadata["osd.labels"])
    facts: list[LayerFacts] = []

    def add_layer(layer: LayerFacts) -> None:
        reader.add_layer(layer)
        facts.append(layer)

    head = read_head(_parse(metadata["osd.head"], "osd.head"), labels, add_layer)
    text, probe = _read_text_and_probe(metadata, head.kind, facts)
    vectors = None
    if "osd.vectors" in known:
        vectors = VectorsReader(take(known, "osd.vectors", ("u1",), 1))
    check_slots(len(data), reader.sites, facts, 0 if vectors is None else vectors.slots)
    sites, layers = reader.finish()
    changed = () if vectors is None else vectors.finish()
    if known:
        raise BundleError(Code.BUNDLE_TENSOR_UNKNOWN, f"unknown tensor {sorted(known)[0][:80]!r}")
    return Bundle(
        task=metadata["osd.task"],
        task_version=metadata["osd.task_version"],
        labels=labels,
        base=metadata["osd.base"],
        site_count=site_count,
        values=reader.values,
        sites=sites,
        head=replace(head, layers=layers),
        method=_info(metadata, "info.method"),
        scores=_info(metadata, "info.scores"),
        tool=metadata.get("info.tool", ""),
        sequence=int(metadata.get("osd.sequence", "0")),
        signature=metadata.get(SIGNATURE_KEY, ""),
        text=text,
        probe=probe,
        vectors=changed,
    )


def _read_text_and_probe(
    metadata: Mapping[str, str], kind: str, layers: Sequence[LayerFacts]
) -> tuple[TaskText | None, Probe | None]:
    known = format_kind(kind)
    assert known is not None, "the head was read"
    text, probe = None, None
    if "osd.text" in metadata:
        text = read_text(_parse(metadata["osd.text"], "osd.text"), known)
    if "osd.probe" in metadata:
        outputs = layers[-1].shape[0] if layers else 0
        probe = read_probe(_parse(metadata["osd.probe"], "osd.probe"), known, outputs)
    return text, probe


def _check_version(metadata: Mapping[str, str]) -> None:
    version = metadata.get("osd.format")
    if version is None:
        raise BundleError(
            Code.BUNDLE_NOT_A_BUNDLE, "a safetensors file without osd.format: not a task bundle"
        )
    if version != str(FORMAT_VERSION):
        raise BundleError(
            Code.BUNDLE_VERSION,
            f"format version {version[:20]!r}, this release reads {FORMAT_VERSION}: "
            "update osd-edge, or export the task again",
        )


def _check_keys(metadata: Mapping[str, str]) -> None:
    for key in metadata:
        if key not in (*_REQUIRED_KEYS, *_OPTIONAL_KEYS) and not key.startswith(_IGNORABLE):
            raise BundleError(
                Code.BUNDLE_KEY_UNKNOWN,
                f"the bundle needs {key[:80]!r}, which this release does not know: update osd-edge",
            )
    for key in _REQUIRED_KEYS:
        if key not in metadata:
            raise BundleError(Code.BUNDLE_KEY_MISSING, f"the metadata lacks {key!r}")
    if not TASK_NAME.fullmatch(metadata["osd.task"]):
        raise BundleError(Code.BUNDLE_KEY_VALUE, f"bad task name {metadata['osd.task'][:80]!r}")
    if not FINGERPRINT.fullmatch(metadata["osd.base"]):
        raise BundleError(Code.BUNDLE_KEY_VALUE, "osd.base is not 64 hex digits")
    _number(metadata["osd.site_count"])
    check_sequence(metadata.get("osd.sequence", "1"))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5) or int(text) > 65_535:
        raise BundleError(Code.BUNDLE_KEY_VALUE, f"osd.site_count is {text[:20]!r}")
    return int(text)


def _read_labels(text: str) -> tuple[str, ...]:
    labels = _parse(text, "osd.labels")
    if (
        not isinstance(labels, list)
        or not all(isinstance(label, str) and label for label in labels)
        or len(set(labels)) != len(labels)
    ):
        raise BundleError(Code.BUNDLE_LABELS, "osd.labels is not a list of distinct names")
    return tuple(labels)


def _parse(text: str, key: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise BundleError(Code.BUNDLE_KEY_VALUE, f"{key} is not JSON: {error}") from error


def _info(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    """Reads a field that is only for people: where it is unreadable, it counts as absent."""
    try:
        value = parse_json(metadata.get(key, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
