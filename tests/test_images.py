"""ViT, the first family without text: base and tasks against torch, and pictures as pixels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoModelForImageClassification, ViTImageProcessor

from osd_edge.bundle_reader import read_bundle_file
from osd_edge.errors import BaseError, InputError, OsdEdgeError
from osd_edge.examples import Example
from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.exporters.evaluation import divergence
from osd_edge.exporters.measured import batches_of
from osd_edge.exporters.pair import open_pair
from osd_edge.exporters.pictures import read_pictures
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


def save_pictures(folder: Path, count: int) -> None:
    """Pictures of changing size in a folder for each label, no two alike."""
    random = np.random.default_rng(1)
    for i in range(count):
        file = folder / tiny.LABELS[i % len(tiny.LABELS)] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = random.integers(0, 256, (4 + i % 3, 5, 3), np.uint8)
        Image.fromarray(noise).resize((20 + i % 5, 24)).save(file)


@pytest.mark.parametrize("refine", ["scales", "codes"])
def test_pictures_calibrate_it(vit: Path, tmp_path: Path, refine: str) -> None:
    save_pictures(tmp_path / "pictures", 60)
    bundles = []
    for name, calibration in (("with", tmp_path / "pictures"), ("without", None)):
        out = tmp_path / f"{name}.osd.safetensors"
        export_task(
            vit / "base",
            vit / "tuned",
            out,
            budget="3KiB",
            refine=refine if calibration else "none",
            calibration=calibration,
        )
        bundles.append(read_bundle_file(out))
    calibrated, blind = bundles
    assert calibrated.scores["labelled"]
    assert not blind.scores
    # On pictures of the same kind its answers are nearer to the fine-tuned model's.
    save_pictures(tmp_path / "others", 90)
    files = sorted((tmp_path / "others").rglob("*.png"))[60:]
    images = np.stack([np.asarray(Image.open(file).resize((16, 16))) for file in files])
    processor = ViTImageProcessor.from_pretrained(vit / "base")
    pixels = processor(list(images), return_tensors="pt")["pixel_values"]
    tuned = AutoModelForImageClassification.from_pretrained(vit / "tuned").eval()
    with torch.inference_mode():
        expected = tuned(pixels).logits
    session = EdgeSession(vit / "package", threads=1)
    errors = []
    for name in ("with", "without"):
        session.activate(session.load(tmp_path / f"{name}.osd.safetensors"))
        logits = session.run({"pixel_values": pixels.numpy()}).logits
        errors.append(divergence(expected, torch.from_numpy(logits)))
    assert errors[0] < errors[1]


def test_pictures_are_prepared_as_transformers_does(vit: Path, tmp_path: Path) -> None:
    save_pictures(tmp_path, 6)
    examples = read_pictures(tmp_path)
    batches = batches_of(open_pair(vit / "base", vit / "tuned"), examples, 4)
    assert [len(batch.rows) for batch in batches] == [4, 2]
    processor = ViTImageProcessor.from_pretrained(vit / "base")
    opened = [Image.open(example.picture) for example in examples if example.picture]
    expected = processor(opened, return_tensors="pt")["pixel_values"]
    given = torch.cat([batch.tokens["pixel_values"] for batch in batches])
    assert (given - expected).abs().max() <= 1e-6
    assert [e.label for e in examples] == [e.text.split("/")[0] for e in examples]


def test_calibration_sets_that_do_not_fit_are_refused(
    vit: Path, tmp_path: Path, tiny_models: Path
) -> None:
    pictures = tmp_path / "pictures"

    def refusal(base: Path, tuned: Path, calibration: Path | list[Example]) -> str:
        out = tmp_path / "task.osd.safetensors"
        with pytest.raises(OsdEdgeError) as caught:
            export_task(base, tuned, out, calibration=calibration)
        assert not out.exists()
        return caught.value.code

    assert refusal(vit / "base", vit / "tuned", [Example("a cat")]) == "data.images"
    pictures.mkdir()
    assert refusal(vit / "base", vit / "tuned", pictures) == "data.empty"
    save_pictures(pictures, 12)
    assert refusal(tiny_models / "base", tiny_models / "first", pictures) == "data.images"
    torn = pictures / tiny.LABELS[0] / "torn.png"
    torn.write_bytes((pictures / tiny.LABELS[0] / "0.png").read_bytes()[:60])
    assert refusal(vit / "base", vit / "tuned", pictures) == "data.picture"
    torn.rename(pictures / "loose.png")
    assert refusal(vit / "base", vit / "tuned", pictures) == "data.unlabelled"
    (pictures / "loose.png").unlink()
    (pictures / tiny.LABELS[0]).rename(pictures / "a label of another model")
    assert refusal(vit / "base", vit / "tuned", pictures) == "data.label"
    bare = tmp_path / "bare"
    shutil.copytree(vit / "base", bare)
    (bare / "preprocessor_config.json").unlink()
    (pictures / "a label of another model").rename(pictures / tiny.LABELS[0])
    assert refusal(bare, vit / "tuned", pictures) == "model.images"


def test_a_package_that_does_not_say_how_pictures_are_prepared(
    vit: Path, tmp_path: Path, tiny_base: Path
) -> None:
    manifest = json.loads((vit / "package" / "manifest.json").read_text("utf-8"))
    assert manifest["image"]["mean"] == [0.5, 0.5, 0.5]
    with pytest.raises(BaseError) as caught:
        EdgeSession(tiny_base, threads=1).classify_images(pictures())
    assert caught.value.code == "base.image"
