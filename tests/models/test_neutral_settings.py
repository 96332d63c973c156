"""Settings that only change how torch computes: the same package, the same scores."""

from pathlib import Path
from typing import Any

import pytest

from osd_edge.data.examples import Example
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.scoring.frozen_probe import frozen_probe_accuracy
from tests.support import tiny
from tests.support.checkpoints import refusal
from tests.support.spoiled import edit

SETTINGS: list[dict[str, Any]] = [
    {"chunk_size_feed_forward": 3},
    {"chunk_size_feed_forward": 4},
    {"chunk_size_feed_forward": 64},
    {"gradient_checkpointing": True},
    {"torchscript": True},
    {"output_attentions": True},
    {"output_hidden_states": True},
    {"return_dict": False},
    {"use_cache": False},
    {"attn_implementation": "flash_attention_2"},
    {"_attn_implementation": "flash_attention_2"},
    {"_attn_implementation": "flex_attention"},
    {"pruned_heads": {}},
]


def name(settings: dict[str, Any]) -> str:
    return "-".join(f"{key}={value}" for key, value in settings.items())


# Transformers 4 says of one of them that it will not be read by version 5.
@pytest.mark.filterwarnings("ignore:Passing `gradient_checkpointing`:UserWarning")
@pytest.mark.parametrize("settings", SETTINGS, ids=name)
def test_a_setting_that_changes_no_result_changes_no_export(
    models: Path, settings: dict[str, Any]
) -> None:
    rows = models / "rows.txt"
    rows.write_text("\n".join(tiny.sentences(8)) + "\n")

    def export(to: str) -> tuple[Path, dict[str, Any]]:
        export_base(models / "base", models / to)
        bundle = models / f"{to}.osd.safetensors"
        report = export_task(
            models / "base", models / "first", bundle, calibration=rows, method="truncsvd", name="t"
        )
        kept = report.as_dict()
        del kept["path"]
        return models / to, kept | {"bytes": bundle.read_bytes()}

    plain, expected = export("plain")
    for folder in ("base", "first"):
        edit(models / folder / "config.json", **settings)
    found, report = export("set")
    assert report == expected
    for file in ("model.onnx", "model.onnx.data", "plain.onnx"):
        assert (found / file).read_bytes() == (plain / file).read_bytes()


def test_a_frozen_probe_is_taken_without_them_too(models: Path) -> None:
    rows = [Example(text, label) for text in tiny.sentences(9) for label in "ab"]
    expected = frozen_probe_accuracy(models / "base", rows, rows)
    edit(models / "base" / "config.json", chunk_size_feed_forward=7, torchscript=True)
    assert frozen_probe_accuracy(models / "base", rows, rows) == expected


def test_pruned_heads_are_refused_in_words(models: Path) -> None:
    edit(models / "base" / "config.json", pruned_heads={"0": [1]})
    code, message = refusal(lambda: export_base(models / "base", models / "out"))
    assert code == "model.config" and "pruned_heads" in message and "not exported" in message
