"""The task of our own that comparisons measure: its rows, its templates, its LoRA."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.language_tasks import TASKS, main
from osd_edge.data.examples import read_examples
from osd_edge.exporters.models.peft_adapter import read_adapter
from tests.support.writers import Writer


@pytest.mark.parametrize("task", TASKS)
def test_rows_and_a_lora_are_made(tiny_llama: Writer, tmp_path: Path, task: str) -> None:
    few = ("--train", "30", "--calibration", "9", "--test", "12", "--steps", "3", "--rank", "2")
    arguments = ["--base", str(tiny_llama.model), "-o", str(tmp_path), "--task", task, *few]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    folder = tmp_path / task
    parts = [read_examples(folder / f"{n}.jsonl") for n in ("train", "calibration", "test")]
    assert [len(part) for part in parts] == [30, 9, 12]
    assert all(row.completion for part in parts for row in part)
    texts = [row.text for part in parts for row in part]
    assert len(set(texts)) == len(texts)
    adapter = read_adapter(folder / "lora")
    assert {parts["lora_A.weight"].shape[0] for parts in adapter.low_rank.values()} == {2}
    assert len(adapter.low_rank) == 2 * 7  # all linear layers
    assert len(json.loads((folder / "losses.json").read_text())) == 3
    assert not (folder / "training.safetensors").exists()
