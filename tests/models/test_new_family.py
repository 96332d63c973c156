"""A family of models is a file, and nothing else is edited for it."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, CamembertConfig

from osd_edge.errors import ModelError
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.models import families
from osd_edge.runtime import EdgeSession
from tests.support import tiny

FILE = """
inputs = ["input_ids", "attention_mask"]
fusion = "bert"
positions_after_padding = true
pooler = { path = "pooler.dense", activation = "tanh" }

[heads.sequence]
pooling = "cls"
layers = [{ path = "classifier.dense", activation = "tanh" }, { path = "classifier.out_proj" }]
"""


def test_a_family_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny._SETTINGS["roberta"][1]
    monkeypatch.setitem(tiny._SETTINGS, "camembert", (CamembertConfig, settings))
    base = tiny.make_base("camembert", tmp_path / "base")
    tuned = tiny.make_tuned(base, tmp_path / "tuned", linear_only=True)
    with pytest.raises(ModelError) as refused:
        export_base(base, tmp_path / "package")
    assert refused.value.code == "model.family"
    folder = tmp_path / "families"
    folder.mkdir()
    (folder / "camembert.toml").write_text(FILE, "utf-8")
    monkeypatch.setattr(families, "FOLDERS", [*families.FOLDERS, folder])
    export_base(base, tmp_path / "package")
    bundle = tmp_path / "task.osd.safetensors"
    export_task(base, tuned, bundle, method="truncsvd", budget="r=32")
    session = EdgeSession(tmp_path / "package")
    session.load(bundle)
    inputs = session.encode(["the cat sat", "a bird flew over a mat"])
    model = AutoModelForSequenceClassification.from_pretrained(tuned).eval()
    with torch.inference_mode():
        expected = model(**{k: torch.from_numpy(v) for k, v in inputs.items()}).logits.numpy()
    found = session.run(inputs, task="task").logits
    assert found is not None
    assert abs(found - expected).max() < 2e-3 * abs(expected).max()
