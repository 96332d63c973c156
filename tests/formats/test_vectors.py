"""The vectors that every reader of bundles shares, run against this one."""

import hashlib
import importlib.util
import json
import re
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from osd_edge.errors import BundleError
from osd_edge.formats.bundle.reader import MAX_BUNDLE_BYTES, read_bundle, read_bundle_file
from osd_edge.formats.heads import apply_head
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.manifest_reader import parse_manifest

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "vectors" / "v1"
INDEX = json.loads((VECTORS / "index.json").read_text("utf-8"))
CASES: list[dict[str, Any]] = INDEX["cases"]
DOC = (ROOT / "docs" / "bundle-format.md").read_text("utf-8")
DOC_CODES = re.findall(r"^\| `(bundle\.[a-z-]+)` \|", DOC, re.MULTILINE)


PARTS = ("sites", "head", "sequence", "text", "probe", "vectors")


def cases(result: str, flag: str = "") -> pytest.MarkDecorator:
    chosen = [c for c in CASES if c["result"] == result and (not flag or flag in c["flags"])]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=lambda case: str(case["id"]))


def data_of(case: dict[str, Any]) -> bytes:
    return (VECTORS / str(case["file"])).read_bytes()


def sha256(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


@cases("valid")
def test_a_valid_file_decodes_to_its_hashes(case: dict[str, Any]) -> None:
    bundle = read_bundle(data_of(case))
    expected = case["expected"]
    assert {
        "task": bundle.task,
        "task_version": bundle.task_version,
        "base": bundle.base,
        "site_count": bundle.site_count,
        "values": bundle.values,
        "labels": list(bundle.labels),
    } == {key: value for key, value in expected.items() if key not in PARTS}
    assert bundle.sequence == expected.get("sequence", 0)
    for part, found in (("text", bundle.text), ("probe", bundle.probe)):
        assert (None if found is None else found.described()) == expected.get(part)
    vectors = [
        {"vector": each.vector, "n": each.codes.size, "values": sha256(each.decode())}
        for each in bundle.vectors
    ]
    assert vectors == expected.get("vectors", [])
    sites = []
    for site in bundle.sites:
        u, v = site.decode()
        assert u.dtype == v.dtype == np.dtype(np.float32)
        assert (u.shape, v.shape) == ((site.k, site.n), (site.k, site.d))
        numbers = {"site": site.site, "n": site.n, "d": site.d, "k": site.k}
        sites.append(numbers | {"u": sha256(u), "v": sha256(v)})
    assert sites == expected["sites"]
    head = bundle.head.decode()
    assert (head.kind, head.pooling) == (expected["head"]["kind"], expected["head"]["pooling"])
    for layer, facts in zip(head.layers, expected["head"]["layers"], strict=True):
        assert [layer.n, layer.d] == facts["shape"]
        assert layer.activation == facts["activation"]
        for part in ("weight", "u", "v", "bias"):
            array = getattr(layer, part)
            assert (None if array is None else sha256(array)) == facts.get(part), part


@cases("valid", "logits")
def test_a_head_gives_the_logits_of_the_vectors(case: dict[str, Any]) -> None:
    head = read_bundle(data_of(case)).head.decode()
    run = case["run"]
    pooled = None if run["pooled"] is None else np.array(run["pooled"], np.float32)
    logits = apply_head(head, np.array(run["hidden"], np.float32), np.array(run["mask"]), pooled)
    assert logits.dtype == np.float32
    expected = np.array(run["logits"])
    assert (np.abs(logits - expected) <= INDEX["tolerance"] * np.maximum(np.abs(expected), 1)).all()


@cases("valid")
def test_only_the_flagged_files_fit_the_base(case: dict[str, Any]) -> None:
    bundle = read_bundle(data_of(case))
    manifest = parse_manifest((VECTORS / "base" / "manifest.json").read_text("utf-8"))
    if "fits-base" in case["flags"]:
        check_fits(bundle, manifest)
    else:
        with pytest.raises(BundleError):
            check_fits(bundle, manifest)


@cases("valid")
def test_any_safetensors_reader_opens_a_valid_file(case: dict[str, Any]) -> None:
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(VECTORS / case["file"], "np") as file:
        assert file.metadata()["osd.task"] == case["expected"]["task"]
        if "coded" in case["flags"]:
            assert file.get_tensor("osd.coded").ndim == 1
        else:
            assert file.get_tensor("osd.sites").shape == (len(case["expected"]["sites"]), 4)


@cases("invalid")
def test_an_invalid_file_is_refused_with_its_code(case: dict[str, Any]) -> None:
    data = data_of(case)
    if "against-base" in case["flags"]:
        bundle = read_bundle(data)
        with pytest.raises(BundleError) as refused:
            check_fits(
                bundle, parse_manifest((VECTORS / "base" / "manifest.json").read_text("utf-8"))
            )
    else:
        with pytest.raises(BundleError) as refused:
            read_bundle(data)
    assert refused.value.code == case["code"]
    assert 10 < len(str(refused.value)) < 400, "a message for people: one or two lines"


@pytest.mark.parametrize(
    "case", [c for c in CASES if "hostile-size" in c["flags"]], ids=lambda case: str(case["id"])
)
def test_nothing_is_allocated_from_a_hostile_number(case: dict[str, Any]) -> None:
    data = data_of(case)
    tracemalloc.start()
    try:
        read_bundle(data)
    except BundleError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 500_000


def test_a_header_over_the_cap_is_refused_even_where_the_file_has_it() -> None:
    data = struct.pack("<Q", (1 << 20) + 1) + b" " * ((1 << 20) + 1)
    with pytest.raises(BundleError) as refused:
        read_bundle(data)
    assert refused.value.code == "bundle.header-length"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(BundleError, match=re.escape(str(path))) as refused:
            read_bundle_file(path)
        assert refused.value.code == "bundle.missing"
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(MAX_BUNDLE_BYTES + 1)
    with pytest.raises(BundleError, match="not a task bundle") as refused:
        read_bundle_file(huge)
    assert refused.value.code == "bundle.header-length"


def test_every_code_is_documented_and_has_a_vector() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "osd_edge").rglob("*.py"))
    raised = set(re.findall(r'"(bundle\.[a-z-]+)"', source))
    assert len(set(DOC_CODES)) == len(DOC_CODES)
    assert set(DOC_CODES) == raised
    assert raised - {case.get("code") for case in CASES} == {"bundle.missing"}


def test_the_hex_dump_of_the_doc_is_the_file() -> None:
    dump = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)", DOC, re.MULTILINE)
    tiny = (VECTORS / "valid" / "tiny.osd.safetensors").read_bytes()
    assert bytes.fromhex("".join(dump)) == tiny


def test_the_coded_example_of_the_doc_is_the_file() -> None:
    lines = re.search(r"`osd\.coded` is\n\n```\n(.*?)```", DOC, re.DOTALL)
    assert lines is not None
    dump = "".join(re.findall(r"^((?:[0-9a-f]{2}[ |]*)+) ", lines[1], re.MULTILINE))
    data = (VECTORS / "valid" / "coded-tiny.osd.safetensors").read_bytes()
    assert data.endswith(bytes.fromhex(dump.replace("|", "")))


def test_the_index_lists_every_file_once() -> None:
    listed = [case["file"] for case in CASES]
    found = [str(path.relative_to(VECTORS).as_posix()) for path in VECTORS.glob("*/*.safetensors")]
    assert sorted(listed) == sorted(found)
    for case in CASES:
        assert set(case["flags"]) <= set(INDEX["flags"])


def test_generating_again_gives_the_same_bytes(tmp_path: Path) -> None:
    generate = ROOT / "vectors" / "generate.py"
    subprocess.run([sys.executable, str(generate), str(tmp_path)], check=True, cwd=tmp_path)

    def contents(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    assert contents(tmp_path) == contents(VECTORS)


def signing() -> ModuleType:
    """The vectors' own Ed25519, with which no reader shares anything."""
    spec = importlib.util.spec_from_file_location("ed25519", ROOT / "vectors" / "ed25519.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_vectors_sign_as_rfc_8032_does() -> None:
    ed25519 = signing()
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert ed25519.public_key(seed).hex() == public
    assert ed25519.sign(seed, b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_a_signature_covers_the_bytes_that_the_page_says() -> None:
    ed25519, key = signing(), INDEX["signing-key"]
    data = (VECTORS / "valid" / "signed.osd.safetensors").read_bytes()
    bundle = read_bundle(data)
    seed, public = bytes.fromhex(key["private"]), bytes.fromhex(key["public"])
    assert ed25519.public_key(seed) == public
    assert bundle.signature[:16] == key["id"] == hashlib.sha256(public).hexdigest()[:16]
    digest = re.search(rb'"osd.sha256":"([0-9a-f]{64})"', data)
    assert digest is not None
    blank = data.replace(digest[1], b"0" * 64)
    blank = blank.replace(bundle.signature[16:].encode(), b"0" * 128)
    message = b"osd-edge bundle signature 1\n" + hashlib.sha256(blank).digest()
    assert ed25519.sign(seed, message).hex() == bundle.signature[16:]
