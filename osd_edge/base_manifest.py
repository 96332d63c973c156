"""The manifest of a base package: what a device must know about the base, and checks of it.

A base package is a folder with `manifest.json`, `model.onnx`, `model.onnx.data` and, for text,
`tokenizer.json`. `docs/base-package.md` describes every field.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from osd_edge.bundle import Bundle
from osd_edge.errors import BaseError, BundleError

MANIFEST = "manifest.json"
MODEL = "model.onnx"
PLAIN_MODEL = (
    "plain.onnx"  # the graph without branches, over the same weights: what to measure against
)
WEIGHTS = "model.onnx.data"
TOKENIZER = "tokenizer.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Site:
    """A linear layer of the backbone, `n` outputs and `d` inputs.

    `u` and `v` name the graph inputs for its factors, `[t, k, n]` and `[t, d, k]` (t = 1 or the
    batch); both are None where this package has no branch for it.
    """

    name: str
    n: int
    d: int
    u: str | None = None
    v: str | None = None


@dataclass(frozen=True)
class TextSettings:
    """How text becomes tokens: the longest sequence, and the padding token."""

    max_length: int
    pad_id: int
    pad_token: str


@dataclass(frozen=True)
class BaseManifest:
    """A base package's facts; `fingerprint` is that of the original weights."""

    family: str
    fingerprint: str
    hidden_size: int
    inputs: tuple[str, ...]
    hidden_output: str
    pooler_output: str | None
    sites: tuple[Site, ...]
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    text: TextSettings | None = None
    made: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The manifest as it stands in the package."""
        return json.dumps({"format": FORMAT_VERSION} | asdict(self), indent=1) + "\n"


def read_manifest(folder: Path) -> BaseManifest:
    """The manifest of the package in `folder`, its files present and of the right size.

    Raises BaseError. Digests are not checked here: see `check_digests`.
    """
    try:
        fields = json.loads((folder / MANIFEST).read_text("utf-8"))
    except OSError as error:
        raise BaseError(
            "base.missing",
            f"{folder} is not a base package: cannot read {MANIFEST} ({error.strerror}); "
            "make one with 'osd-edge export base'",
        ) from error
    except (ValueError, RecursionError) as error:
        raise BaseError("base.manifest", f"{folder / MANIFEST} is not JSON: {error}") from error
    version = fields.pop("format", None) if isinstance(fields, dict) else None
    if version != FORMAT_VERSION:
        raise BaseError(
            "base.version",
            f"{folder} has manifest version {version!r}, this release reads {FORMAT_VERSION}: "
            "update osd-edge, or export the base again",
        )
    try:
        sites = tuple(Site(**site) for site in fields.pop("sites"))
        text = fields.pop("text")
        manifest = BaseManifest(
            sites=sites,
            text=None if text is None else TextSettings(**text),
            inputs=tuple(fields.pop("inputs")),
            **fields,
        )
        sizes = {Path(name).name: int(entry["bytes"]) for name, entry in manifest.files.items()}
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BaseError(
            "base.manifest", f"{folder / MANIFEST} is malformed ({error}): export the base again"
        ) from error
    for name, size in sizes.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes"
            raise BaseError(
                "base.file",
                f"{path} {state}, expected {size} bytes: copy the base package again",
            )
    return manifest


def check_digests(folder: Path, manifest: BaseManifest) -> None:
    """Refuse (`base.digest`) a package whose files differ from those that were exported."""
    for name, entry in manifest.files.items():
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != entry["sha256"]:
            raise BaseError(
                "base.digest", f"{folder / name} is damaged: copy the base package again"
            )


def check_fits(bundle: Bundle, manifest: BaseManifest) -> None:
    """Refuse a bundle that was not made for this base: fingerprint, shapes, branches, head."""
    if bundle.base != manifest.fingerprint:
        raise BundleError(
            "bundle.base",
            f"task {bundle.task!r} was made for base {bundle.base[:12]}…, this base is "
            f"{manifest.fingerprint[:12]}…: export the task for this base",
        )
    if bundle.site_count != len(manifest.sites):
        raise BundleError(
            "bundle.site-mismatch",
            f"task {bundle.task!r} counts {bundle.site_count} sites, the base has "
            f"{len(manifest.sites)}: export the base and the task with one release",
        )
    for delta in bundle.sites:
        site = manifest.sites[delta.site]
        if (delta.n, delta.d) != (site.n, site.d):
            raise BundleError(
                "bundle.site-mismatch",
                f"task {bundle.task!r} has [{delta.n}, {delta.d}] for {site.name}, "
                f"the base has [{site.n}, {site.d}]",
            )
        if site.u is None:
            raise BundleError(
                "bundle.site-branch",
                f"task {bundle.task!r} changes {site.name}, for which this base package has no "
                "branch: export the base with that site",
            )
    if bundle.head.pooling == "pooler" and manifest.pooler_output is None:
        raise BundleError("bundle.head-base", "the head needs a pooler, which this base lacks")
    if bundle.head.layers[0].shape[1] != manifest.hidden_size:
        raise BundleError(
            "bundle.head-base",
            f"the head takes {bundle.head.layers[0].shape[1]} features, the base gives "
            f"{manifest.hidden_size}",
        )
