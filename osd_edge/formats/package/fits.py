"""Checks that a task bundle was made for a base package."""

from osd_edge.data.arguments import expect
from osd_edge.errors import BundleError, Code, TaskError
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.text import MAX_PROMPT
from osd_edge.formats.kinds import KINDS
from osd_edge.formats.package.manifest import BaseManifest


def check_fits(bundle: Bundle, manifest: BaseManifest) -> None:
    """Refuses a task bundle that was not made for this base: fingerprint, shapes, branches, head.

    Args:
        bundle: A bundle, as `read_bundle` gives it.
        manifest: The manifest of the base package that is to run it.

    Raises:
        BundleError: `bundle.base` for another base; `bundle.site-mismatch` for a site table of
            other shapes; `bundle.site-branch` for a layer that this package's graph cannot
            change; `bundle.head-base` for a head that the base's outputs do not fit;
            `bundle.vector-base` for changed biases or norms that the package has no inputs for.
        TaskError: `task.needs` for text settings of a task that writes text, and for a prompt of
            more than 4,096 characters.
        InputError: `input.type` for other than a bundle and a manifest.

    >>> from dataclasses import replace
    >>> from pathlib import Path
    >>> from osd_edge import BundleError, check_fits, read_bundle_file, read_manifest
    >>> manifest = read_manifest(Path("base"))
    >>> bundle = read_bundle_file(Path("colours.osd.safetensors"))
    >>> check_fits(bundle, manifest)
    >>> try:
    ...     check_fits(replace(bundle, base="0" * 64), manifest)
    ... except BundleError as error:
    ...     print(error.code)
    bundle.base
    """
    expect(bundle, Bundle, "bundle")
    expect(manifest, BaseManifest, "manifest")
    if bundle.base != manifest.fingerprint:
        raise BundleError(
            Code.BUNDLE_BASE,
            f"task {bundle.task!r} was made for base {bundle.base[:12]}…, this base is "
            f"{manifest.fingerprint[:12]}…: export the task for this base",
        )
    if bundle.site_count != len(manifest.sites):
        raise BundleError(
            Code.BUNDLE_SITE_MISMATCH,
            f"task {bundle.task!r} counts {bundle.site_count} sites, the base has "
            f"{len(manifest.sites)}: export the base and the task with one release",
        )
    for delta in bundle.sites:
        site = manifest.sites[delta.site]
        if (delta.n, delta.d) != (site.n, site.d):
            raise BundleError(
                Code.BUNDLE_SITE_MISMATCH,
                f"task {bundle.task!r} has [{delta.n}, {delta.d}] for {site.name}, "
                f"the base has [{site.n}, {site.d}]: export both from one model",
            )
        if site.u is None:
            raise BundleError(
                Code.BUNDLE_SITE_BRANCH,
                f"task {bundle.task!r} changes {site.name}, for which this base package has no "
                "branch: export the base with that site",
            )
    _check_vectors(bundle, manifest)
    if bundle.head.pooling == "pooler" and manifest.pooler_output is None:
        raise BundleError(
            Code.BUNDLE_HEAD_BASE,
            "the head needs a pooler, which this base lacks: export the base and the "
            "task from one model",
        )
    if bundle.head.pooling == "logits" and manifest.generation is None:
        raise BundleError(
            Code.BUNDLE_HEAD_BASE,
            f"task {bundle.task!r} writes text, for which this base package gives no logits: "
            "export the base with --task generate",
        )
    if bundle.head.layers and bundle.head.layers[0].shape[1] != manifest.hidden_size:
        raise BundleError(
            Code.BUNDLE_HEAD_BASE,
            f"the head takes {bundle.head.layers[0].shape[1]} features, the base gives "
            f"{manifest.hidden_size}: export both from one model",
        )
    if bundle.text is not None and KINDS[bundle.head.kind].writes:
        raise TaskError(
            Code.TASK_NEEDS,
            f"task {bundle.task!r} writes text and has text settings, which say nothing of "
            "conversations and are not applied: export it without them",
        )
    prompt = (bundle.text and bundle.text.prompt) or ""
    if len(prompt) > MAX_PROMPT:
        raise TaskError(
            Code.TASK_NEEDS,
            f"task {bundle.task!r} has a prompt of {len(prompt)} characters, more than the "
            f"{MAX_PROMPT} that are put before a text: export it with a shorter one",
        )


def _check_vectors(bundle: Bundle, manifest: BaseManifest) -> None:
    if bundle.vectors and not manifest.vectors:
        raise BundleError(
            Code.BUNDLE_VECTOR_BASE,
            f"task {bundle.task!r} changes biases or norms, for which this base package has no "
            "inputs: export the base with --vectors, or the task without",
        )
    for each in bundle.vectors:
        known = each.vector < len(manifest.vectors)
        if not known or each.codes.size != manifest.vectors[each.vector].n:
            found = f"{manifest.vectors[each.vector].n} numbers" if known else "no such vector"
            raise BundleError(
                Code.BUNDLE_VECTOR_BASE,
                f"task {bundle.task!r} has {each.codes.size} numbers for vector {each.vector}, the "
                f"base has {found}: export the base and the task with one release",
            )
