"""Files that versions 4 and 5 of transformers write differently are read right, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from osd_edge.errors import ModelError
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.tokenizer import load_tokenizer
from tests.support import tiny
from tests.support.spoiled import edit

VERSION = int(transformers.__version__.partition(".")[0])


def models(folder: Path, family: str) -> tuple[Path, Path]:
    """A base and a model fine-tuned from it."""
    base = tiny.make_base(family, folder / "base")
    return base, tiny.make_tuned(base, folder / "tuned", linear_only=True)


def code_of(base: Path, tuned: Path, folder: Path) -> str:
    """The code of the refusal of a task; empty where it is made."""
    try:
        export_task(base, tuned, folder / "t.osd.safetensors", method="truncsvd", budget="r=4")
    except ModelError as error:
        return str(error.code)
    return ""


def test_a_setting_that_5_leaves_out_is_its_default(tmp_path: Path) -> None:
    base, tuned = models(tmp_path, "bert")
    for folder, kind in ((base, None), (tuned, "absolute")):
        edit(folder / "config.json", position_embedding_type=kind)
    assert code_of(base, tuned, tmp_path) == ""


def test_relative_positions_that_5_does_not_compute_are_refused(tmp_path: Path) -> None:
    base, _ = models(tmp_path, "bert")
    edit(base / "config.json", position_embedding_type="relative_key")
    with pytest.raises(ModelError) as caught:  # 4 computes them, and misses their weights
        export_base(base, tmp_path / "package")
    assert caught.value.code == ("model.config" if VERSION >= 5 else "model.architecture")


def rope(theta: float, **more: Any) -> dict[str, Any]:
    one = {"rope_theta": theta, "rope_type": "default"}
    return {"full_attention": one | more, "sliding_attention": one}


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_parameters": rope(160000.0, rope_type="linear", factor=4.0)},
        {"layer_types": ["sliding_attention", "full_attention"]},
    ],
)
def test_modernbert_with_other_positions_or_layers_fits_no_base_without(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    base, tuned = models(tmp_path, "modernbert")
    fields = json.loads((tuned / "config.json").read_text())
    fields.pop("global_attn_every_n_layers", None)
    (tuned / "config.json").write_text(json.dumps(fields | changes))
    # Version 4 cannot compute either, version 5 finds that they differ.
    assert code_of(base, tuned, tmp_path) == (
        "model.config" if VERSION < 5 else "model.architecture"
    )


def test_layers_are_the_same_whether_listed_or_counted(tmp_path: Path) -> None:
    base, tuned = models(tmp_path, "modernbert")
    fields = json.loads((tuned / "config.json").read_text())
    fields.pop("global_attn_every_n_layers", None)
    fields["layer_types"] = ["full_attention", "sliding_attention"]
    (tuned / "config.json").write_text(json.dumps(fields))
    assert code_of(base, tuned, tmp_path) == ""


@pytest.mark.parametrize("named", ["DistilBertTokenizer", "BertTokenizer", "TokenizersBackend"])
def test_a_tokenizer_does_what_its_own_file_says(tmp_path: Path, named: str) -> None:
    base, _ = models(tmp_path, "bert")
    backend = Tokenizer.from_file(str(base / "tokenizer.json"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.save(str(base / "tokenizer.json"))
    words = "\n".join(sorted(backend.get_vocab(), key=backend.get_vocab().__getitem__))
    (base / "vocab.txt").write_text(words)
    edit(base / "tokenizer_config.json", tokenizer_class=named)
    loaded = load_tokenizer(Checkpoint(base))
    for text in ("THE cat", "the cat,sat", "a  dog"):
        assert loaded(text)["input_ids"] == backend.encode(text).ids


@pytest.mark.parametrize("longest", ["x", -5, 0, None, [3]])
def test_a_tokenizer_of_no_length_is_refused(tmp_path: Path, longest: Any) -> None:
    base, _ = models(tmp_path, "bert")
    edit(base / "tokenizer_config.json", model_max_length=longest)
    if longest is None:  # no limit of its own
        assert export_base(base, tmp_path / "package").text is not None
        return
    with pytest.raises(ModelError) as caught:
        export_base(base, tmp_path / "package")
    assert caught.value.code == "model.tokenizer"
    assert not (tmp_path / "package").exists()


@pytest.mark.parametrize("size", [[16, 16, 16], -16, 0, [16, "16"]])
def test_pictures_of_no_size_are_refused(tmp_path: Path, size: Any) -> None:
    base = tiny.make_base("vit", tmp_path / "base")
    edit(base / "config.json", image_size=size)
    with pytest.raises(ModelError) as caught:
        export_base(base, tmp_path / "package")
    assert caught.value.code in ("model.config", "model.shape", "model.architecture")
