"""The task of our own that comparisons measure: its rows, its templates, its LoRA."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import training_state
from benchmarks.language_tasks import TASKS, main
from benchmarks.training_state import KeptTrainer
from osd_edge.data.examples import read_examples
from osd_edge.exporters.demo.writing.tasks import Written
from osd_edge.exporters.demo.writing.train import LoraTrainer, LoraTraining
from osd_edge.exporters.models.peft_adapter import read_adapter
from tests.support.writers import Writer

ROWS = [
    Written("<|im_start|>the cat\n", "sat on the mat"),
    Written("<|im_start|>a dog\n", "ran under the bird"),
]


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


def test_a_training_that_was_broken_off_goes_on_to_the_same_weights(
    tiny_llama: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that were kept are not made again; what came after the last kept one is."""
    monkeypatch.setattr(training_state, "KEPT_EVERY", 4)
    trainer, kept = KeptTrainer(tiny_llama.model), tmp_path / "state.safetensors"
    training = LoraTraining(steps=12, batch=1, rate=2e-2)
    losses = LoraTrainer(tiny_llama.model).train(ROWS, tmp_path / "whole", training)

    class KilledError(Exception):
        pass

    def killed(items, label, total=None):  # type: ignore[no-untyped-def]
        for i, item in enumerate(items):
            if i == 10:
                raise KilledError
            yield item

    with pytest.raises(KilledError):
        trainer.train_kept(ROWS, tmp_path / "parts", training, kept, killed)
    assert kept.is_file() and not (tmp_path / "parts").exists()
    made = []
    plain = LoraTrainer._loss

    def counted(self: LoraTrainer, rows: Any) -> Any:
        made.append(rows)
        return plain(self, rows)

    monkeypatch.setattr(LoraTrainer, "_loss", counted)
    assert trainer.train_kept(ROWS, tmp_path / "parts", training, kept) == losses
    assert len(made) == 4 and not kept.exists()
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        whole, parts = (tmp_path / name / file for name in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def test_what_is_kept_of_other_rows_or_of_another_base_is_no_start(
    tiny_llama: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_state, "KEPT_EVERY", 4)
    monkeypatch.setattr(training_state.TrainingState, "forget", lambda self: None)
    trainer, kept = KeptTrainer(tiny_llama.model), tmp_path / "state.safetensors"
    training = LoraTraining(steps=4, batch=1)
    trainer.train_kept(ROWS, tmp_path / "first", training, kept)
    alone = LoraTrainer(tiny_llama.model).train(ROWS[:1], tmp_path / "alone", training)
    assert trainer.train_kept(ROWS[:1], tmp_path / "second", training, kept) == alone
    other = tiny_llama.model.with_name("task0")
    anew = LoraTrainer(other).train(ROWS[:1], tmp_path / "anew", training)
    assert KeptTrainer(other).train_kept(ROWS[:1], tmp_path / "third", training, kept) == anew
