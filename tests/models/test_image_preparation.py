"""How pictures are prepared, read from a processor's own file, against transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import (
    DeiTImageProcessor,
    ViTImageProcessor,
)

from osd_edge.errors import DataError, ModelError
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.image_preparation import preparation
from osd_edge.exporters.scoring.pictures import Pixels, read_pictures
from tests.support import tiny
from tests.support.pictures import save_pictures

SQUARE = {"height": 16, "width": 16}
CROPPED = DeiTImageProcessor(size={"height": 20, "width": 22}, crop_size=SQUARE)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of pictures of 16 by 16, without a file that says how they are prepared."""
    return tiny.make_base("vit", tmp_path_factory.mktemp("small") / "base")


@pytest.mark.parametrize(
    "processor",
    [
        *(ViTImageProcessor(size=SQUARE, resample=code) for code in range(6)),
        ViTImageProcessor(size=SQUARE, do_rescale=False, image_mean=[99, 98, 97]),
        ViTImageProcessor(size=SQUARE, do_normalize=False),
        ViTImageProcessor(size=SQUARE, do_center_crop=None, crop_size=None),  # as fast ones' are
        CROPPED,
        DeiTImageProcessor(size=SQUARE, crop_size=SQUARE),
    ],
)
def test_settings_of_other_processors(small: Path, tmp_path: Path, processor: Any) -> None:
    """Settings read from a processor's own file prepare pictures as the processor does."""
    processor.save_pretrained(small)
    prepared = preparation(Checkpoint(small))
    assert prepared is not None
    assert (prepared.settings.height, prepared.settings.width) == (16, 16)
    save_pictures(tmp_path, 4)
    files = [example.picture for example in read_pictures(tmp_path) if example.picture]
    opened = [Image.open(file) for file in files]
    expected = processor(opened, return_tensors="pt")["pixel_values"]
    assert (Pixels(files, prepared)["pixel_values"] - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": 20}, "size: expected the model's 16 by 16, found 20"),
        ({"size": 20, "crop_size": 18, "do_center_crop": True}, "crop_size: expected the model's"),
        ({"size": 12, "crop_size": 16, "do_center_crop": True}, "size: expected at least"),
        ({"do_center_crop": True}, "crop_size: expected a height and a width"),
        ({"size": {"shortest_edge": 16}}, "shortest_edge"),
        *(({"size": size}, "size: expected") for size in (0, -1, 10**9, True, "16", [16], 16.0)),
        *(({"rescale_factor": x}, "rescale_factor") for x in (0, 1e300, float("nan"), 10**400)),
        *(({"image_std": [1, x, 1]}, "image_std") for x in (0, 1e-300, float("inf"), "1", -1)),
        *(({"image_mean": x}, "image_mean") for x in ([0, 0, float("nan")], [0, 0], None, [])),
        ({"do_normalize": "no"}, "do_normalize: expected true or false, found 'no'"),
        ({"do_resize": 0}, "do_resize"),
        ({"resample": 9}, "resample"),
        ("[" * 100_000, "cannot read"),
        ("[]", "an object"),
        ("{", "cannot read"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(small: Path, fields: Any, said: str) -> None:
    usual = {"size": 16, "image_mean": [0.5] * 3, "image_std": 0.5}
    text = fields if isinstance(fields, str) else json.dumps(usual | fields)
    (small / "preprocessor_config.json").write_text(text, "utf-8")
    with pytest.raises(ModelError) as refusal:
        preparation(Checkpoint(small))
    assert refusal.value.code == "model.images"
    assert said in str(refusal.value) and len(str(refusal.value)) < 400


def test_pictures_that_are_not_resized_have_the_right_size(small: Path, tmp_path: Path) -> None:
    ViTImageProcessor(do_resize=False).save_pretrained(small)  # its size is 224, and means nothing
    prepared = preparation(Checkpoint(small))
    assert prepared is not None and prepared.settings.height == 16
    for size in (16, 20):
        Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(tmp_path / f"{size}.png")
    assert Pixels([tmp_path / "16.png"], prepared)["pixel_values"].shape == (1, 3, 16, 16)
    with pytest.raises(DataError, match="20 by 20") as refusal:
        Pixels([tmp_path / "20.png"], prepared)["pixel_values"]
    assert refusal.value.code == "data.picture"
