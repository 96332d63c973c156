"""Makes what a device is checked with, device_tests/data: vectors in one file, two small models.

The archive is made from vectors/v1. The one model is a BERT of random weights, and its bundles are
made by the exporters; `expected.json` records what they decode to and what they answer.
`device_decoder` makes the other.
"""

import gzip
import io
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from device_decoder import write_decoder

from osd_edge.data.files import write_file
from osd_edge.device_tests.conformance.checks import read_archive
from osd_edge.device_tests.conformance.hashes import decoded_sha256
from osd_edge.device_tests.data import DECODER_FOLDER, EXPECTED, MODEL_FOLDER, VECTORS
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession

ROOT = Path(__file__).parents[1]
TOLERANCE = 1e-4
_TOKENS = 12
_SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}
_LABELS = ("red", "green", "blue")
# Every way that values are stored, each once.
_BUNDLES: dict[str, dict[str, Any]] = {
    "single": {"method": "truncsvd", "budget": "r=2", "values": "fp32"},
    "half": {"method": "truncsvd", "budget": "r=2", "values": "fp16"},
    "sparse": {"method": "magtruncsvd", "budget": "r=1", "values": "int8"},
    "coded": {"method": "osd-rd", "budget": "4KiB"},
}


def archive(source: Path) -> bytes:
    """All files below `source` as a .tar.gz without times and owners."""
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            info = tarfile.TarInfo(path.relative_to(source).as_posix())
            data = path.read_bytes()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(tar_bytes.getvalue(), mtime=0)


def write_vectors(target: Path = VECTORS) -> None:
    """Write the archive of vectors/v1, where it holds anything else: zlibs differ in the bytes."""
    data = archive(ROOT / "vectors" / "v1")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        if target.is_file() and read_archive(target) == read_archive(Path(file.name)):
            return
    write_file(target, data)


def write_model(folder: Path) -> None:
    """Write the base package, its bundles and `expected.json` to `folder`, which must be new."""
    from osd_edge.exporters import export_base, export_task
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    with tempfile.TemporaryDirectory() as temporary:
        models = Path(temporary)
        _make_base(models / "base")
        export_base(models / "base", folder)
        for seed, (name, options) in enumerate(_BUNDLES.items(), 1):
            _make_tuned(models / "base", models / name, seed)
            path = folder / f"{name}.osd.safetensors"
            export_task(models / "base", models / name, path, name=name, **options)
    write_file(folder / EXPECTED.name, (json.dumps(expected_of(folder), indent=1) + "\n").encode())


def expected_of(folder: Path) -> dict[str, Any]:
    """The answers of the base and the bundles in `folder` on this machine."""
    session = EdgeSession(folder, threads=1)
    random = np.random.RandomState(1)
    ids = random.randint(2, _SIZES["vocab_size"], (2, _TOKENS))
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(ids),
    }
    bundles = []
    for path in sorted(folder.glob("*.osd.safetensors")):
        task = session.load(path)
        logits = session.run(inputs, task=task).logits
        assert logits is not None
        bundles.append(
            {
                "task": task,
                "file": path.name,
                "decoded_sha256": decoded_sha256(read_bundle_file(path)),
                "logits": _rounded(logits),
            }
        )
    return {
        "schema": "osd-edge-device-model/1",
        "tolerance": TOLERANCE,
        "inputs": {name: array.tolist() for name, array in inputs.items()},
        "hidden": _rounded(session.run(inputs, task=None).hidden),
        "bundles": bundles,
    }


def _rounded(array: Any) -> Any:
    return np.round(array.astype(np.float64), 6).tolist()


def _make_base(folder: Path) -> None:
    import torch
    from transformers import AutoModel, BertConfig

    torch.manual_seed(0)
    model = AutoModel.from_config(BertConfig(**_SIZES))
    _shake(model, seed=0, size=0.1)
    model.save_pretrained(folder)


def _make_tuned(base: Path, folder: Path, seed: int) -> None:
    """A classifier whose backbone is the base's plus a random delta, largest at the first ranks."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    names = dict(enumerate(_LABELS))
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=len(names), id2label=names, label2id={v: k for k, v in names.items()}
    )
    _shake(model, seed=seed, size=0.05)
    _shake(model.classifier, seed=seed + 100, size=0.5)
    model.save_pretrained(folder)


def _shake(model: Any, seed: int, size: float) -> None:
    import torch

    random = np.random.RandomState(seed)  # the same numbers on every machine
    with torch.no_grad():
        for parameter in model.parameters():
            noise = random.standard_normal(tuple(parameter.shape)) * size
            parameter.add_(torch.from_numpy(noise.astype(np.float32)))


if __name__ == "__main__":
    write_vectors()
    if "--model" in sys.argv[1:]:
        shutil.rmtree(MODEL_FOLDER, ignore_errors=True)
        write_model(MODEL_FOLDER)
        shutil.rmtree(DECODER_FOLDER, ignore_errors=True)
        write_decoder(DECODER_FOLDER)
