"""What a device checks itself with: complete, small, and able to fail."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from osd_edge.device_tests.conformance.checks import read_archive, run_conformance
from osd_edge.device_tests.data import (
    DECODER_EXPECTED,
    DECODER_FOLDER,
    EXPECTED,
    FOLDER,
    MODEL_FOLDER,
    VECTORS,
)

ROOT = Path(__file__).parents[2]


def test_the_archive_holds_the_vectors_of_this_tree() -> None:
    vectors = ROOT / "vectors" / "v1"
    files = {p.relative_to(vectors).as_posix(): p for p in vectors.rglob("*") if p.is_file()}
    shipped = read_archive(VECTORS)
    assert set(shipped) == set(files), "make vectors"
    assert all(shipped[name] == path.read_bytes() for name, path in files.items()), "make vectors"


def test_what_is_shipped_is_small() -> None:
    assert sum(p.stat().st_size for p in MODEL_FOLDER.iterdir()) < 300_000
    assert sum(p.stat().st_size for p in DECODER_FOLDER.iterdir()) < 120_000
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) < 500_000


def test_this_machine_conforms() -> None:
    found = run_conformance()
    assert found["failures"] == [] and found["status"] == "passed"
    index = json.loads(read_archive(VECTORS)["index.json"])
    recorded = json.loads(EXPECTED.read_text("utf-8"))
    runs = sum("run" in case for case in index["cases"])
    writes = json.loads(DECODER_EXPECTED.read_text("utf-8"))
    models = 3 + 2 * len(recorded["bundles"]) + 2 + 2 * len(writes["bundles"])
    assert found["cases"] == len(index["cases"]) + runs + models


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL_FOLDER, tmp_path / "model"))


def _failed(model: Path) -> list[str]:
    found = run_conformance(model=model)
    assert found["status"] == "failed"
    return [failure["id"] for failure in found["failures"]]


def test_other_answers_are_found(model: Path) -> None:
    recorded = json.loads((model / EXPECTED.name).read_text("utf-8"))
    recorded["bundles"][1]["logits"][0][0] += 0.01
    recorded["bundles"][2]["decoded_sha256"] = "0" * 64
    recorded["hidden"][0][0][0] = float("nan")
    (model / EXPECTED.name).write_text(json.dumps(recorded), "utf-8")
    second, third = recorded["bundles"][1]["task"], recorded["bundles"][2]["task"]
    assert _failed(model) == [
        "model/no-task",
        f"model/{second}/answers",
        f"model/{third}/decode",
    ]


def test_damaged_files_are_found_and_the_rest_is_tried(model: Path) -> None:
    weights = model / "model.onnx.data"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 64
    weights.write_bytes(data)
    bundle = model / "coded.osd.safetensors"
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"\0")
    failed = _failed(model)
    assert "model/files" in failed
    assert {"model/coded/decode", "model/coded/answers"} <= set(failed)
    assert "model/half/decode" not in failed


def test_a_reader_that_takes_what_it_must_refuse_is_found(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "vectors"))
    try:
        from device_files import archive
    finally:
        sys.path.pop(0)
    vectors = tmp_path / "v1"
    shutil.copytree(ROOT / "vectors" / "v1", vectors)
    index = json.loads((vectors / "index.json").read_text("utf-8"))
    invalid = next(c for c in index["cases"] if c["result"] == "invalid")
    valid = next(c for c in index["cases"] if c["result"] == "valid")
    (vectors / invalid["file"]).write_bytes((vectors / valid["file"]).read_bytes())
    (tmp_path / "other.tar.gz").write_bytes(archive(vectors))
    found = run_conformance(vectors=tmp_path / "other.tar.gz")
    assert [failure["id"] for failure in found["failures"]] == [invalid["id"]]
    assert invalid["code"] in found["failures"][0]["expected"]


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DECODER_FOLDER, tmp_path / "decoder"))


def test_a_decoder_that_writes_other_tokens_is_found(decoder: Path) -> None:
    recorded = json.loads((decoder / DECODER_EXPECTED.name).read_text("utf-8"))
    recorded["tokens"][1][-1] += 1
    (decoder / DECODER_EXPECTED.name).write_text(json.dumps(recorded), "utf-8")
    found = run_conformance(decoder=decoder)
    # The task's case has a row of the base beside the task's own.
    assert [failure["id"] for failure in found["failures"]] == [
        "decoder/no-task",
        "decoder/writes/tokens",
    ]


def test_a_decoder_whose_task_does_nothing_is_found(decoder: Path) -> None:
    recorded = json.loads((decoder / DECODER_EXPECTED.name).read_text("utf-8"))
    assert recorded["bundles"][0]["tokens"] != recorded["tokens"]
    recorded["bundles"][0]["tokens"] = recorded["tokens"]
    (decoder / DECODER_EXPECTED.name).write_text(json.dumps(recorded), "utf-8")
    found = run_conformance(decoder=decoder)
    assert [failure["id"] for failure in found["failures"]] == ["decoder/writes/tokens"]


def test_damaged_weights_of_the_decoder_are_found(decoder: Path) -> None:
    weights = decoder / "model.onnx.data"
    data = bytearray(weights.read_bytes())
    data[40] ^= 64
    weights.write_bytes(data)
    failed = [failure["id"] for failure in run_conformance(decoder=decoder)["failures"]]
    assert "decoder/files" in failed


@pytest.mark.slow(reason="exports a model in a process of its own")
def test_the_small_model_can_be_made_again(tmp_path: Path) -> None:
    """By the script that made it: with the same shape, and conforming to what it recorded."""
    code = (
        "import sys; from pathlib import Path; import device_files; "
        "device_files.write_model(Path(sys.argv[1]))"
    )
    folder = tmp_path / "model"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        check=True,
        cwd=ROOT / "vectors",
        capture_output=True,
    )
    assert {p.name for p in folder.iterdir()} == {p.name for p in MODEL_FOLDER.iterdir()}
    assert run_conformance(model=folder)["failures"] == []


@pytest.mark.slow(reason="exports a model in a process of its own")
def test_the_small_decoder_can_be_made_again(tmp_path: Path) -> None:
    """By the script that made it: with the same shape, and writing what it recorded."""
    code = (
        "import sys; from pathlib import Path; import device_decoder; "
        "device_decoder.write_decoder(Path(sys.argv[1]))"
    )
    folder = tmp_path / "decoder"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        check=True,
        cwd=ROOT / "vectors",
        capture_output=True,
    )
    assert {p.name for p in folder.iterdir()} == {p.name for p in DECODER_FOLDER.iterdir()}
    assert run_conformance(decoder=folder)["failures"] == []
    made, kept = (
        json.loads((f / DECODER_EXPECTED.name).read_text()) for f in (folder, DECODER_FOLDER)
    )
    assert made == kept
