"""Mutators: mutants come from noise alone, their digests are right, and no seed is too odd."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.mutators.bundles import mutate_bundle
from fuzz.mutators.coded_tensor import CodedFields
from fuzz.mutators.container import Container, repaired
from fuzz.mutators.json_values import mutate_json
from fuzz.mutators.messages import joined, parsed
from fuzz.targets import seeds
from fuzz.targets.graphs import graphs
from fuzz.targets.table import TARGETS
from fuzz.targets.target import Target
from osd_edge.errors import BundleError
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.container import check_digest, read_header

BUNDLES = seeds.bundles()
EACH_TARGET = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@EACH_TARGET
def test_a_mutant_of_a_mutant_can_always_be_made(target: Target) -> None:
    noise = Random(3)
    pool = target.seeds()
    for _ in range(400):
        pool.append(target.mutant(noise, noise.choice(pool), noise.choice(pool)))
        assert type(pool[-1]) is bytes
    assert len(set(pool)) > 300


@EACH_TARGET
def test_equal_noise_gives_equal_mutants(target: Target) -> None:
    first, second = target.seeds()[:2]
    one, two = ([target.mutant(Random(i), first, second) for i in range(30)] for _ in range(2))
    assert one == two


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 2**32))
def test_bytes_that_are_no_file_have_mutants_too(data: bytes, other: bytes, seed: int) -> None:
    for target in TARGETS.values():
        assert type(target.mutant(Random(seed), data, other)) is bytes


def test_json_without_end_has_mutants_too() -> None:
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    for target in TARGETS.values():
        for i in range(20):
            assert type(target.mutant(Random(i), deep, deep)) is bytes


@settings(max_examples=40, deadline=None)
@given(JSON, st.integers(0, 2**32))
def test_any_json_has_a_mutant_that_is_json(value: Any, seed: int) -> None:
    json.dumps(mutate_json(Random(seed), value, ("a", 1)))


def test_most_mutants_of_bundles_get_past_their_digest() -> None:
    noise = Random(4)
    codes = []
    for _ in range(1000):
        data = mutate_bundle(noise, noise.choice(BUNDLES), noise.choice(BUNDLES))
        try:
            read_bundle(data)
            codes.append("")
        except BundleError as error:
            codes.append(str(error.code))
    assert codes.count("bundle.digest") < 120
    assert codes.count("") > 40
    assert len(set(codes)) > 20


def test_a_digest_is_repaired() -> None:
    whole = next(data for data in BUNDLES if not _refused(data))
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    with pytest.raises(BundleError, match="damaged"):
        check_digest(damaged, read_header(damaged)[0])
    mended = repaired(damaged)
    check_digest(mended, read_header(mended)[0])
    assert repaired(whole) == whole


def test_a_file_that_is_taken_apart_keeps_its_parts() -> None:
    whole = next(data for data in BUNDLES if b"osd.coded" in data and not _refused(data))
    container = Container.of(whole)
    assert container is not None
    assert list(container.header()) == ["__metadata__", "osd.coded"]
    assert whole.endswith(container.parts["osd.coded"].data)


def test_coded_tensors_are_taken_apart_to_the_last_bit() -> None:
    taken = 0
    for data in BUNDLES:
        container = None if _refused(data) else Container.of(data)
        if container is not None and "osd.coded" in container.parts:
            tensor = container.parts["osd.coded"].data
            layers = json.loads(container.metadata["osd.head"])["layers"]
            if len(tensor) == 1:
                continue  # neither sites nor layers
            fields = CodedFields.of(tensor, layers)
            assert fields is not None and fields.tensor() == tensor
            taken += 1
    assert taken > 8


def test_graphs_are_taken_apart_to_the_last_bit() -> None:
    for data in graphs():
        fields = parsed(data)
        assert fields is not None and len(fields) > 3
        assert joined(fields) == data


def _refused(data: bytes) -> bool:
    try:
        read_bundle(data)
    except BundleError:
        return True
    return False
