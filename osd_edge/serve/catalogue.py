"""Makes the table of all that a browser gets: the page, a base, its tasks and a catalogue.

The catalogue, `/catalogue.json`, tells the page which base and which tasks there are. Base and
tasks have the start of their digest in their address, so that a browser may keep them for ever.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osd_edge import __version__
from osd_edge.data.arguments import as_path, as_paths
from osd_edge.errors import BaseError, Code, InputError
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.reader import read_bundle, read_bundle_bytes, refusals_of
from osd_edge.formats.named_bundle import RENAME, NamedBundle, of_one_name
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    TOKENIZER,
    WEIGHTS,
    BaseManifest,
)
from osd_edge.formats.package.manifest import MODEL as GRAPH
from osd_edge.formats.package.manifest_reader import check_digests, read_manifest
from osd_edge.serve.page import page_files
from osd_edge.serve.served_file import ServedFile, served_file

CATALOGUE_VERSION = 1
Bundles = str | Path | NamedBundle | Sequence[str | Path | NamedBundle]


def served_files(page: str | Path, base: str | Path, bundles: Bundles) -> dict[str, ServedFile]:
    """Lists every address: of the built page in folder `page`, `base`, `bundles`, the catalogue.

    Raises BaseError, BundleError where a package or a bundle is damaged, or they do not fit;
    `base.version` for a package that the page's runtime does not read; InputError
    `input.task-name` where two bundles have one task's name, `input.page` where a file of the page
    cannot be read, `input.path` for a path that is none.
    """
    page, base, given_bundles = as_path(page, "page"), as_path(base, "base"), _as_bundles(bundles)
    manifest = read_manifest(base)
    if manifest.version != FORMAT_VERSION:
        raise BaseError(
            Code.BASE_VERSION,
            f"{base} has format {manifest.version}, the page's runtime reads format "
            f"{FORMAT_VERSION}: serve the base of an encoder, exported without --vectors",
        )
    check_digests(base, manifest)  # else every phone would find it out, after all its bytes
    entries = page_files(page)
    base_fields = _add_base(entries, base, manifest)
    tasks: dict[str, dict[str, Any]] = {}
    paths: dict[str, Path] = {}
    for given in given_bundles:
        data = read_bundle_bytes(given.path)
        with refusals_of(given.path):
            bundle = read_bundle(data)
        check_fits(bundle, manifest)
        name = given.name or bundle.task
        if name in tasks:
            both = of_one_name(name, paths[name], given.path)
            raise InputError(Code.INPUT_TASK_NAME, f"{both}: {RENAME}")
        tasks[name], paths[name] = _add_task(entries, name, bundle, data), given.path
    catalogue = {
        "format": CATALOGUE_VERSION,
        "tool": f"osd-edge {__version__}",
        "base": base_fields,
        "tasks": list(tasks.values()),
    }
    text = json.dumps(catalogue, indent=1, ensure_ascii=False) + "\n"
    entries["/catalogue.json"] = served_file(text.encode())
    return entries


def _add_base(entries: dict[str, ServedFile], base: Path, manifest: BaseManifest) -> dict[str, Any]:
    """Adds the files that a browser needs of `base`, and gives the base's part of the catalogue."""
    manifest_entry = served_file(base / MANIFEST, fixed=True)
    folder = f"base/{manifest_entry.tag[:16]}/"
    entries[f"/{folder}{MANIFEST}"] = manifest_entry
    wanted = [GRAPH, WEIGHTS] + ([] if manifest.text is None else [TOKENIZER])
    for name in wanted:
        digest = str(manifest.files[name]["sha256"])
        entries[f"/{folder}{name}"] = served_file(base / name, digest, fixed=True)
    return {
        "name": os.fsencode(base.resolve().name).decode("utf-8", "replace"),
        "fingerprint": manifest.fingerprint,
        "url": folder,
        "sha256": manifest_entry.tag,
        "bytes": sum(entries[f"/{folder}{name}"].size for name in (MANIFEST, *wanted)),
    }


def _as_bundles(given: Bundles) -> tuple[NamedBundle, ...]:
    if isinstance(given, NamedBundle):
        return (given,)
    if not isinstance(given, list | tuple):
        return tuple(map(NamedBundle, as_paths(given, "bundles")))
    return tuple(
        one if isinstance(one, NamedBundle) else NamedBundle(as_path(one, "bundles"))
        for one in given
    )


def _add_task(
    entries: dict[str, ServedFile], name: str, bundle: Bundle, data: bytes
) -> dict[str, Any]:
    """Adds `bundle`, whose file is `data`, under `name`, and gives its part of the catalogue."""
    entry = served_file(data, fixed=True)
    url = f"tasks/{entry.tag[:16]}/{name}.osd.safetensors"
    entries[f"/{url}"] = entry
    return {
        "task": name,
        "kind": bundle.head.kind,
        "labels": list(bundle.labels),
        "base": bundle.base,
        "url": url,
        "bytes": entry.size,
        "sha256": entry.tag,
    }
