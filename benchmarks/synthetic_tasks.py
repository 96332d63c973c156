"""Task bundles of made-up deltas over a real base: for measuring memory, not accuracy.

Fine-tuned deltas have quickly decaying spectra; these have one, in every linear layer, from a
seed, and go through the exporter as real ones do. No training and no data, so that any machine
can make them in a minute or two.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from osd_edge.data.progress import Progress, silent
from osd_edge.device_tests.emulated.cache import cached
from osd_edge.device_tests.install.own_wheel import content_digest, own_wheel
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.demo.minilm import minilm_folder

_LABELS = ("negative", "neutral", "positive")
_RANK = 8
_SIZE = 0.02  # norm of a layer's delta over the norm of its weights
_DECAY = 0.6  # of one singular value over the one before


def make_tasks(
    base: Path, folder: Path, count: int, *, budget: str = "16KiB", progress: Progress = silent
) -> list[Path]:
    """Write `count` bundles, `task-00.osd.safetensors` and so on, over the BERT in `base`.

    The same files every time on one machine.
    """
    weights = load_file(base / "model.safetensors")
    bundles = []
    with tempfile.TemporaryDirectory(prefix="osd-edge-tuned-") as name:
        tuned = Path(name)
        _copy_settings(base, tuned)
        for number in progress(range(count), "Making tasks"):
            save_file(_fine_tuned(weights, number), tuned / "model.safetensors", {"format": "pt"})
            path = folder / f"task-{number:02}.osd.safetensors"
            export_task(base, tuned, path, budget=budget, refine="none")
            bundles.append(path)
    return bundles


def minilm_with_tasks(count: int, progress: Progress = silent) -> tuple[Path, list[Path]]:
    """The base package of all-MiniLM-L6-v2 and `count` bundles over it, kept in the cache.

    Made again where any code of the project changed. Raises ModelError where the package that
    carries the model is not installed.
    """

    def make(folder: Path) -> None:
        export_base(minilm_folder(), folder / "minilm", progress=progress)
        make_tasks(minilm_folder(), folder, count, progress=progress)

    with tempfile.TemporaryDirectory(prefix="osd-edge-") as name:
        code = content_digest(own_wheel(Path(name)))
    own_code = Path(__file__).read_text("utf-8")
    folder = cached("synthetic-tasks", [code, own_code, str(count)], make)
    return folder / "minilm", sorted(folder.glob("*.safetensors"))


def _copy_settings(base: Path, tuned: Path) -> None:
    for path in base.iterdir():
        if path.is_file() and path.suffix in (".json", ".txt"):
            shutil.copyfile(path, tuned / path.name)
    config = json.loads((base / "config.json").read_text("utf-8"))
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": dict(enumerate(_LABELS)),
        "label2id": {label: i for i, label in enumerate(_LABELS)},
    }
    (tuned / "config.json").write_text(json.dumps(config), "utf-8")


def _fine_tuned(weights: dict[str, NDArray[Any]], seed: int) -> dict[str, NDArray[Any]]:
    """A classifier: the base with a delta in every linear layer of its encoder, and a head."""
    rng = np.random.default_rng(seed)
    spectrum = _DECAY ** np.arange(_RANK)
    tuned = {}
    for name in sorted(weights):
        weight = weights[name]
        if ".layer." in name and weight.ndim == 2:
            n, d = weight.shape
            delta = rng.standard_normal((n, _RANK)) * spectrum @ rng.standard_normal((_RANK, d))
            delta *= _SIZE * np.linalg.norm(weight) / np.linalg.norm(delta)
            weight = weight + delta.astype(weight.dtype)
        tuned[f"bert.{name}"] = weight
    width = next(iter(v.shape[0] for k, v in tuned.items() if k.endswith("pooler.dense.bias")))
    tuned["classifier.weight"] = rng.normal(0, 0.05, (len(_LABELS), width)).astype(np.float32)
    tuned["classifier.bias"] = np.zeros(len(_LABELS), np.float32)
    return tuned
