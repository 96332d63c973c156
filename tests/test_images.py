"""ViT, the first family without text: base and tasks against torch, and pictures as pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForImageClassification, ViTImageProcessor

from osd_edge.errors import BaseError, DataError, InputError
from osd_edge.examples import Example
from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.exporters.pair import open_pair
from osd_edge.runtime import EdgeSession
from tests import tiny


@pytest.fixture(scope="module", params=[True, False], ids=["pooler", "no-pooler"])
def vit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, a classifier of pictures, a base package and a bundle."""
    folder = tmp_path_factory.mktemp("vit")
    base = tiny.make_base("vit", folder / "base", pooler=request.param)
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


def pictures(count: int = 3) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, 16, 16, 3), np.uint8)


def test_base_and_task_equal_torch(vit: Path) -> None:
    session = EdgeSession(vit / "package", threads=1)
    processor = ViTImageProcessor.from_pretrained(vit / "base")
    pixels = processor(list(pictures()), return_tensors="pt")["pixel_values"]
    model = AutoModel.from_pretrained(vit / "base").eval()
    with torch.inference_mode():
        hidden = model(pixels).last_hidden_state.numpy()
    output = session.run({"pixel_values": pixels.numpy()})
    assert np.abs(output.hidden - hidden).max() <= 1e-4
    # What a bundle leaves out (embeddings, biases, LayerNorms) is set to the base's.
    pair = open_pair(vit / "base", vit / "tuned")
    reference = AutoModelForImageClassification.from_pretrained(vit / "tuned").eval()
    linear = {f"{layer.name}.weight" for layer in pair.backbone.layers}
    with torch.no_grad():
        for full, parameter in reference.named_parameters():
            name = full.removeprefix("vit.")
            if name in pair.backbone.parameters and name not in linear:
                parameter.copy_(pair.backbone.checkpoint.float32(name))
        expected = reference(pixels).logits.numpy()
    session.activate(session.load(vit / "task.osd.safetensors"))
    logits = session.run({"pixel_values": pixels.numpy()}).logits
    assert logits is not None and np.abs(logits - expected).max() <= 1e-4
    answers = session.classify_images(pictures())
    assert [a.label for a in answers] == [tiny.LABELS[i] for i in expected.argmax(-1)]


def test_what_is_no_picture_is_refused(vit: Path) -> None:
    session = EdgeSession(vit / "package", threads=1)
    session.activate(session.load(vit / "task.osd.safetensors"))
    with pytest.raises(InputError, match="uint8"):
        session.classify_images(pictures().astype(np.float32))
    with pytest.raises(InputError, match="16, 16, 3"):
        session.classify_images(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(InputError) as caught:
        session.run({"input_ids": np.ones((1, 3), np.int64)})
    assert caught.value.code == "input.names"
    with pytest.raises(InputError) as caught:
        session.run({"pixel_values": np.full((1, 3, 16, 16), np.nan, np.float32)})
    assert caught.value.code == "input.shape"
    with pytest.raises(BaseError) as missing:
        session.classify(["a cat"])
    assert missing.value.code == "base.text"


def test_texts_cannot_calibrate_it(vit: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        export_task(
            vit / "base",
            vit / "tuned",
            tmp_path / "task.osd.safetensors",
            calibration=[Example("a cat")],
        )
    assert caught.value.code == "data.images"


def test_a_package_that_does_not_say_how_pictures_are_prepared(
    vit: Path, tmp_path: Path, tiny_base: Path
) -> None:
    manifest = json.loads((vit / "package" / "manifest.json").read_text("utf-8"))
    assert manifest["image"]["mean"] == [0.5, 0.5, 0.5]
    with pytest.raises(BaseError) as caught:
        EdgeSession(tiny_base, threads=1).classify_images(pictures())
    assert caught.value.code == "base.image"
