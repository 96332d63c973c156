"""A small model of pictures, and pictures made of noise."""

from pathlib import Path

import numpy as np
from PIL import Image
from transformers import AutoModelForImageClassification, ViTImageProcessor

from osd_edge.exporters import HeadOptions, export_base, export_task
from tests.support import tiny


def save_pictures(folder: Path, count: int) -> None:
    """Pictures of changing size in a folder for each label, no two alike."""
    random = np.random.default_rng(1)
    for i in range(count):
        file = folder / tiny.LABELS[i % len(tiny.LABELS)] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = random.integers(0, 256, (4 + i % 3, 5, 3), np.uint8)
        Image.fromarray(noise).resize((20 + i % 5, 24)).save(file)


def make_vit(folder: Path, *, pooler: bool) -> Path:
    """Make `base`, `tuned`, `package` and `task.osd.safetensors` in `folder`, all of the delta."""
    base = tiny.make_base("vit", folder / "base", pooler=pooler)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(base)
    tiny.make_tuned(base, folder / "tuned", task=AutoModelForImageClassification)
    export_base(base, folder / "package")
    export_task(
        base,
        folder / "tuned",
        folder / "task.osd.safetensors",
        method="truncsvd",
        budget="r=64",
        head=HeadOptions(values="fp32"),
    )
    return folder
