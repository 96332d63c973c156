"""Coded bundles over a base."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from osd_edge.formats.bundle.model import Bundle, StoredHead
from osd_edge.formats.bundle.plain import Matrix, PlainLayer
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.package.manifest_reader import read_manifest
from osd_edge.runtime import EdgeSession
from osd_edge.runtime.task import decode_task
from tests.support import tiny
from tests.support.integers import layer, plainly, scales, site


def test_a_session_runs_a_coded_bundle_as_its_factors(tiny_base: Path, tmp_path: Path) -> None:
    manifest = read_manifest(tiny_base)
    random = np.random.default_rng(0)
    chosen = [i for i, s in enumerate(manifest.sites) if s.u is not None][::2]
    scale = scales(random, 2 * len(chosen)) / np.float32(4)
    sites = tuple(
        site(random, i, manifest.sites[i].n, manifest.sites[i].d, 2, scale[2 * j : 2 * j + 2])
        for j, i in enumerate(chosen)
    )
    bundle = Bundle(
        task="coded",
        task_version="1",
        labels=tiny.LABELS,
        base=manifest.fingerprint,
        site_count=len(manifest.sites),
        values="coded",
        sites=sites,
        head=StoredHead(
            "labels", "cls", (layer(random, len(tiny.LABELS), manifest.hidden_size, 0, True),)
        ),
    )
    plain_layer = bundle.head.layers[0].decode()
    assert plain_layer.weight is not None
    plain = replace(
        bundle,
        task="plain",
        values="fp32",
        sites=tuple(map(plainly, sites)),
        head=StoredHead(
            "labels",
            "cls",
            (PlainLayer(None, plain_layer.bias, weight=Matrix(plain_layer.weight)),),
        ),
    )
    session = EdgeSession(tiny_base, threads=1)
    for made in (bundle, plain):
        path = tmp_path / f"{made.task}.osd.safetensors"
        path.write_bytes(write_bundle(made))
        session.load(path)
    inputs = session.encode(tiny.sentences(5, seed=9))
    one, other = session.run(inputs, task="coded"), session.run(inputs, task="plain")
    assert one.logits is not None and other.logits is not None
    assert np.array_equal(one.logits, other.logits)
    task = decode_task("coded", read_bundle(write_bundle(bundle)), manifest)
    for i, s in zip(chosen, sites, strict=True):
        u, v = s.decode()
        names = manifest.sites[i]
        assert names.u is not None and names.v is not None
        assert np.array_equal(task.feeds[names.u], u[None])
        assert np.array_equal(task.feeds[names.v], v.T[None])
