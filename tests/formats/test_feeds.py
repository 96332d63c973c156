"""Factors as graph inputs: one arena, and the same values wherever they are fed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from osd_edge.device_tests.data import __file__ as data_module
from osd_edge.device_tests.scenarios.ort_adapters import feeds_of
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.package.feeds import factor_feeds
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.formats.package.manifest_reader import read_manifest
from osd_edge.formats.package.sites import Site
from osd_edge.runtime.task import decode_task

BASE = Path(data_module).parent / "small-bert"
BUNDLES = sorted(BASE.glob("*.osd.safetensors"))


@pytest.fixture(params=["fp32", "fp16"])
def manifest(request: pytest.FixtureRequest) -> BaseManifest:
    return replace(read_manifest(BASE), factors=request.param)


@pytest.fixture(params=BUNDLES, ids=lambda path: path.name.split(".")[0])
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def of_site(bundle: Bundle, manifest: BaseManifest, index: int) -> tuple[str, str]:
    site = manifest.sites[bundle.sites[index].site]
    assert site.u is not None and site.v is not None
    return site.u, site.v


def test_feeds_are_the_decoded_factors_u_and_v_of_each_site(
    file: Path, manifest: BaseManifest
) -> None:
    bundle = read_bundle_file(file)
    feeds = factor_feeds("x", bundle, manifest)
    assert len(feeds) == 2 * len(bundle.sites) > 0
    for index, delta in enumerate(bundle.sites):
        u, v = (feeds[name] for name in of_site(bundle, manifest, index))
        assert (u.shape, v.shape) == ((1, delta.k, delta.n), (1, delta.d, delta.k))
        expected = delta.decode()
        if manifest.factors == "fp32":
            np.testing.assert_array_equal(u[0], expected[0])
            np.testing.assert_array_equal(v[0], expected[1].T)
        else:  # balanced, then rounded: the product is what stays
            product = v[0].astype(np.float32) @ u[0].astype(np.float32)
            exact = expected[1].T @ expected[0]
            assert np.abs(product - exact).max() <= 2**-9 * np.abs(exact).max()


def test_feeds_are_views_of_one_arena_in_the_order_of_the_sites(
    file: Path, manifest: BaseManifest
) -> None:
    bundle = read_bundle_file(file)
    feeds = factor_feeds("x", bundle, manifest)
    names = [name for i in range(len(bundle.sites)) for name in of_site(bundle, manifest, i)]
    assert list(feeds) == names
    width = 2 if manifest.factors == "fp16" else 4
    ends = np.cumsum([feeds[name].size * width for name in names])
    starts = [feeds[name].__array_interface__["data"][0] for name in names]
    assert [start - starts[0] for start in starts] == [0, *ends[:-1].tolist()]
    assert all(feed.dtype.itemsize == width for feed in feeds.values())


def test_session_and_measured_adapters_feed_the_same(file: Path, manifest: BaseManifest) -> None:
    feeds = factor_feeds("x", read_bundle_file(file), manifest)
    for others in (
        decode_task("x", read_bundle_file(file), manifest).feeds,
        feeds_of(file, manifest),
    ):
        assert {k: v.tobytes() for k, v in others.items()} == {
            k: v.tobytes() for k, v in feeds.items()
        }


def test_packed_sites_have_a_block_each_in_the_factors_of_their_branch(
    file: Path, manifest: BaseManifest
) -> None:
    """Query, key and value of each layer under one name, as graphs of decoders have them."""

    def packed(site: Site) -> Site:
        layer, _, last = site.name.rpartition(".")
        if last not in ("query", "key", "value"):
            return site
        return replace(site, u=f"{layer}.qkv.u", v=f"{layer}.qkv.v")

    apart, bundle = manifest, read_bundle_file(file)
    manifest = replace(apart, sites=tuple(packed(site) for site in apart.sites))
    feeds, expected = (factor_feeds("x", bundle, one) for one in (manifest, apart))
    seen = 0
    for branch in manifest.branches:
        if branch.u not in feeds:
            continue
        product = (feeds[branch.v][0] @ feeds[branch.u][0]).T
        for index, start in zip(branch.sites, branch.starts, strict=True):
            site = apart.sites[index]
            block = product[start : start + site.n]
            if site.u in expected and site.v is not None:
                np.testing.assert_allclose(
                    block, (expected[site.v][0] @ expected[site.u][0]).T, rtol=1e-3, atol=1e-6
                )
                seen += len(branch.sites) > 1
            else:
                assert not block.any()
    assert seen
