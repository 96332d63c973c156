"""Large models whose weights stay in their files: the same bundles, gradients and answers.

Tiny models are taken for large ones here, so that what is compared is known exactly.
"""

from pathlib import Path

import pytest
import torch

from osd_edge.exporters import export_task
from osd_edge.exporters.methods.osd_rd import compress
from osd_edge.exporters.models import large as large_models
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import LINEAR_ONLY
from tests.support.exports import export_bytes
from tests.support.families import Families


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_streamed_model_gives_the_same_bundle(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calibrated: bool
) -> None:
    # Large models take smaller batches, and products in bfloat16: the one difference.
    monkeypatch.setattr(compress, "_STREAMED_BATCH", 16)
    monkeypatch.setattr(compress, "training_dtype", lambda: torch.float32)
    calibration = tiny_models / "examples.tsv" if calibrated else None
    found = []
    for threshold in (large_models.LARGE, 0):
        monkeypatch.setattr(large_models, "LARGE", threshold)
        found.append(export_bytes(tiny_models, tmp_path, calibration=calibration))
    assert found[0] == found[1]
    assert [path.name for path in tmp_path.iterdir()] == ["t.osd.safetensors"]


@pytest.mark.parametrize("family", ["bert", "gpt2", "albert", "deberta-v2"])
def test_osd_takes_gradients_of_weights_that_are_not_there(
    families: Families, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last two use a layer more than once: the gradient is the sum over its uses.
    made = families(family)
    base, tuned, rows = (made / name for name in ("base", "tuned", "examples.tsv"))
    out = tmp_path / "t.osd.safetensors"
    found = []
    for threshold in (large_models.LARGE, 0):
        monkeypatch.setattr(large_models, "LARGE", threshold)
        export_task(base, tuned, out, method="osd", budget="r=2", calibration=rows)
        found.append(out.read_bytes())
    assert found[0] == found[1]


def test_a_streamed_model_answers_and_learns_as_one_in_memory(tiny_models: Path) -> None:
    backbone = backbone_of(Checkpoint(tiny_models / "base"))
    tuned = Checkpoint(tiny_models / "first")
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
    tokens = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    gradients = []
    for streamed in (False, True):
        model = TaskModel(backbone, tuned, streamed=streamed)
        with model.at(LINEAR_ONLY) as module:
            embeddings = module.get_input_embeddings().weight
            embeddings.requires_grad_(True)
            logits = module(**tokens).logits
            gradients.append(torch.autograd.grad(logits.square().sum(), embeddings)[0])
            held = sum(p.numel() for p in module.base_model.encoder.parameters())
        assert (held < 1000) == streamed  # biases and LayerNorms alone
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)
