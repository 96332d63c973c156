"""Small SetFit models: an embedding model with a classifier beside it, as SetFit 1 writes them."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.support import tiny

STAGES = ("Transformer", "Pooling", "Normalize")


def make_setfit(
    base: Path, folder: Path, head: Any, *, normalize: bool = False, **settings: Any
) -> Path:
    """Save a body that pools by the mean, and `head` as SetFit does; `settings` of its own file."""
    tiny.make_tuned(base, folder, task=AutoModel, linear_only=True)
    paths = ("", "1_Pooling", "2_Normalize")[: 3 if normalize else 2]
    stages = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(zip(paths, STAGES, strict=False))
    ]
    (folder / "modules.json").write_text(json.dumps(stages))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    given = {"labels": None, "normalize_embeddings": False} | settings
    (folder / "config_setfit.json").write_text(json.dumps(given))
    joblib.dump(head, folder / "model_head.pkl")
    return folder


def vectors(folder: Path, texts: list[str]) -> Any:
    """The mean of each text's states `[texts, hidden]`, by transformers itself."""
    model: Any = AutoModel.from_pretrained(folder).eval()
    tokens = tiny.tokens_of(folder, texts, ("input_ids", "attention_mask", "token_type_ids"))
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    return ((states * mask).sum(1) / mask.sum(1)).numpy()


def random_vectors(count: int = 60) -> Any:
    """Vectors to fit a classifier to."""
    return np.random.default_rng(0).normal(0, 0.5, (count, 32)).astype(np.float32)


def torch_head(patch: pytest.MonkeyPatch, labels: int, *, several: bool = False) -> Any:
    """A head of torch, by the names and with the attributes that SetFit's own has."""

    class SetFitHead(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(32, labels)
            self.in_features, self.out_features = 32, labels
            self.temperature, self.eps, self.multitarget = 0.5, 1e-5, several

        def predict_proba(self, x: Any) -> Any:
            logits = self.linear(torch.as_tensor(x)) / (self.temperature + self.eps)
            chances = logits.sigmoid() if several else logits.softmax(-1)
            return chances.detach().numpy()

    package, module = types.ModuleType("setfit"), types.ModuleType("setfit.modeling")
    module.SetFitHead = SetFitHead  # type: ignore[attr-defined]  # a module made here has none
    SetFitHead.__module__, SetFitHead.__qualname__ = "setfit.modeling", "SetFitHead"
    patch.setitem(sys.modules, "setfit", package)
    patch.setitem(sys.modules, "setfit.modeling", module)
    torch.manual_seed(4)
    return SetFitHead()
