"""Files of every version of sentence-transformers say how one vector of a text is made."""

import json
from pathlib import Path
from typing import Any

import pytest

from osd_edge.errors import ModelError
from osd_edge.exporters.models.embedding_settings import embedding_settings

# The classes of a model's stages, as versions 5 and 6 write them.
OLD = [f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Normalize")]
NEW = [
    "sentence_transformers.base.modules.transformer.Transformer",
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "sentence_transformers.base.modules.normalize.Normalize",
]


def saved(folder: Path, stages: list[str], pooling: Any) -> Path:
    """A folder with the files beside the weights."""
    paths = ("", "1_Pooling", "2_Normalize")
    listed = [{"type": kind, "path": path} for kind, path in zip(stages, paths, strict=False)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.mark.parametrize(
    ("stages", "pooling", "expected"),
    [
        (OLD, {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}, ("mean", True)),
        (OLD[:2], {"pooling_mode_cls_token": True}, ("cls", False)),
        (OLD, {"pooling_mode_lasttoken": True, "pooling_mode_cls_token": False}, ("last", True)),
        (NEW, {"embedding_dimension": 8, "pooling_mode": "mean"}, ("mean", True)),
        (NEW[:2], {"pooling_mode": "lasttoken", "include_prompt": True}, ("last", False)),
        (NEW, {"pooling_mode": ["cls"]}, ("cls", True)),
    ],
)
def test_every_version_is_read(
    tmp_path: Path, stages: list[str], pooling: Any, expected: tuple[str, bool]
) -> None:
    assert embedding_settings(saved(tmp_path, stages, pooling)) == expected


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode_max_tokens": True},
        {"pooling_mode": "max"},
        {"pooling_mode": ["cls", "mean"]},
        {"pooling_mode": 3},
        {},
        [],
    ],
)
def test_what_a_device_does_not_compute_is_refused(tmp_path: Path, pooling: Any) -> None:
    with pytest.raises(ModelError, match="cls, mean, lasttoken") as caught:
        embedding_settings(saved(tmp_path, NEW, pooling))
    assert caught.value.code == "model.head"
