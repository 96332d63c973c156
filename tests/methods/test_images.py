"""ViT, the first family without text: base and tasks against torch, and pictures as pixels."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    DeiTImageProcessor,
    ViTImageProcessor,
)

from osd_edge.data.examples import Example
from osd_edge.errors import BaseError, DataError, InputError, ModelError, OsdEdgeError
from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.models.image_preparation import preparation
from osd_edge.exporters.scoring.calibrated_task import batches_of
from osd_edge.exporters.scoring.pictures import Pixels, read_pictures
from osd_edge.exporters.scoring.text_set import divergence
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession
from tests.support import tiny


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
    pair = open_fine_tuned(vit / "base", vit / "tuned")
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
    batches = batches_of(open_fine_tuned(vit / "base", vit / "tuned"), examples, 4)
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
    """What is read of a processor's own file prepares pictures as the processor does."""
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


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    save_pictures(tmp_path / "set", 6)
    expected = read_pictures(tmp_path / "set")
    (tmp_path / "set" / ".thumbs").mkdir()
    shutil.copy(expected[0].picture or "", tmp_path / "set" / ".thumbs" / "0.png")
    (tmp_path / "set" / tiny.LABELS[0] / "._0.png").write_bytes(b"notes of macOS")
    (tmp_path / "set" / "._1.png").write_bytes(b"notes of macOS")
    assert read_pictures(tmp_path / "set") == expected


def test_a_large_picture_is_read_without_a_word(
    vit: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # of a picture of 480 or more
    prepared = preparation(Checkpoint(vit / "base"))
    assert prepared is not None
    files = [example.picture for example in read_pictures(tmp_path) if example.picture]
    Pixels(files, prepared)["pixel_values"]
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # more than twice that is a bomb
    with pytest.raises(DataError):
        Pixels(files, prepared)["pixel_values"]
