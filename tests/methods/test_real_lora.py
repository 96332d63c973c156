"""A LoRA really trained over SmolLM2, whose base is not beside the project: its shape is made."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from osd_edge.exporters import export_task
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.formats.bundle.reader import read_bundle_file
from tests.support import tiny
from tests.support.shared import require_shared

pytestmark = pytest.mark.slow(reason="reads the 210 linear layers of SmolLM2's shape")

FP16 = 2**-11  # of a value, which both of its factors were rounded to


@pytest.fixture(scope="module")
def lora() -> Path:
    return require_shared() / "checkpoints" / "smollm2-snips-lora"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's layers in bf16, of random weights, with a vocabulary of a few words."""
    folder = tmp_path_factory.mktemp("smollm2")
    sizes = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
    config = AutoConfig.for_model(
        "llama", vocab_size=16, tie_word_embeddings=True, **sizes, **heads
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).bfloat16().save_pretrained(folder)
    tiny.save_tokenizer(folder)
    return folder


def test_half_of_the_adapter_s_bytes_hold_all_of_it(base: Path, lora: Path, tmp_path: Path) -> None:
    """Rank 8, α 16: every delta is 2 B A, up to what fp16 rounds."""
    path = tmp_path / "snips.osd.safetensors"
    report = export_task(
        base,
        None,
        path,
        adapters=[(lora, 1.0)],
        method="truncsvd",
        values="fp16",
        budget="r=4",
    )
    assert report.adapter_size is not None and report.size < 0.51 * report.adapter_size
    layers = backbone_of(Checkpoint(base)).layers
    tensors = load_file(lora / "adapter_model.safetensors")
    sites = read_bundle_file(path).sites
    assert len(sites) == len(layers) == report.sites == 210
    for site in sites:
        name = f"base_model.model.model.{layers[site.site].name}"
        a, b = (tensors[f"{name}.lora_{one}.weight"].float() for one in "AB")
        u, v = (torch.from_numpy(factor) for factor in site.decode())
        assert site.k == 8
        assert (u.T @ v - 2 * b @ a).norm() <= FP16 * (2 * b @ a).norm()


@pytest.mark.parametrize("size", [64, 256])
def test_a_budget_holds_a_language_model_s_task(
    base: Path, lora: Path, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "snips.osd.safetensors"
    report = export_task(
        base, None, path, adapters=[(lora, 1.0)], refine="none", budget=f"{size}KiB"
    )
    assert 0.99 * size * 1024 <= report.size <= size * 1024
    assert report.kind == "generate" and report.sites > 200
