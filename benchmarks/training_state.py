"""Keeps a training that may be broken off: its factors, the optimiser's moments, the losses."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from osd_edge.data.files import make_folder, write_file
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.demo.writing.lora import Lora
from osd_edge.exporters.demo.writing.tasks import Written
from osd_edge.exporters.demo.writing.train import LoraTrainer, LoraTraining
from osd_edge.exporters.models.fingerprint import fingerprint

KEPT_EVERY = 25  # steps: some half a minute of a small model's
_PARTS = ("exp_avg", "exp_avg_sq")  # of Adam


class KeptTrainer(LoraTrainer):
    """Trains LoRAs so that a training that is broken off goes on, to the same weights."""

    _state: "TrainingState"

    def train_kept(
        self,
        rows: Sequence[Written],
        out: Path,
        training: LoraTraining,
        file: Path,
        progress: Progress = silent,
    ) -> list[float]:
        """Trains as `train` does; what is made is kept in `file` until the training is done."""
        base = fingerprint(self._checkpoint, self._checkpoint.names())
        text = json.dumps([[row.prompt, row.completion] for row in rows]) + repr(training) + base
        self._state = TrainingState(file, hashlib.sha256(text.encode()).hexdigest())
        losses = self.train(rows, out, training, progress)
        self._state.forget()
        return losses

    def begun(self, lora: Lora, optimizer: torch.optim.Optimizer) -> list[float]:
        """Goes on from what was kept."""
        return self._state.restore(lora.parameters, optimizer)

    def stepped(self, lora: Lora, optimizer: torch.optim.Optimizer, losses: list[float]) -> None:
        """Keeps the training now and then."""
        if len(losses) % KEPT_EVERY == 0:
            self._state.keep(lora.parameters, optimizer, losses)


class TrainingState:
    """The state of a training in one file; `key` tells it from those of other rows or bases."""

    def __init__(self, file: Path, key: str) -> None:
        """Take the file, which need not be there."""
        self._file, self._key = file, key

    def restore(
        self, parameters: Sequence[torch.nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> list[float]:
        """Set parameters and moments to those that were kept, and give the losses of the steps.

        Nothing is set, and there are no losses, where nothing of this key was kept.
        """
        try:
            with safe_open(self._file, "pt") as kept:
                facts = kept.metadata() or {}
                if facts.get("key") != self._key:
                    return []
                losses: list[float] = json.loads(facts["losses"])
                for i, parameter in enumerate(parameters):
                    parameter.data.copy_(kept.get_tensor(f"{i}.value"))
                    optimizer.state[parameter] = {
                        "step": torch.tensor(float(len(losses))),
                        **{part: kept.get_tensor(f"{i}.{part}") for part in _PARTS},
                    }
        except (OSError, SafetensorError):  # none yet, or cut short
            return []
        return losses

    def keep(
        self,
        parameters: Sequence[torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        losses: Sequence[float],
    ) -> None:
        """Write all to the file, at once or not at all; raises OutputError."""
        tensors = {}
        for i, parameter in enumerate(parameters):
            tensors[f"{i}.value"] = parameter.detach()
            tensors |= {f"{i}.{part}": optimizer.state[parameter][part] for part in _PARTS}
        make_folder(self._file.parent)
        facts = {"key": self._key, "losses": json.dumps(list(losses))}
        write_file(self._file, save(tensors, metadata=facts))

    def forget(self) -> None:
        """Remove the file: the training is done."""
        self._file.unlink(missing_ok=True)
