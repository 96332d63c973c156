"""Trains a LoRA to write the completions of rows, token by token, over a frozen base."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from osd_edge.data.files import make_folder
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.demo.batches import batches
from osd_edge.exporters.demo.writing.lora import Lora
from osd_edge.exporters.demo.writing.tasks import Written
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.stop_tokens import ending_token, stop_ids
from osd_edge.exporters.models.tokenizer import load_tokenizer
from osd_edge.exporters.scoring.bfloat16 import lowered, training_dtype

_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class LoraTraining:
    """The settings of a training: rank and α of the LoRA, steps, rows a step, the rate's peak."""

    seed: int = 0
    rank: int = 8
    alpha: float = 16.0
    steps: int = 240
    batch: int = 8
    rate: float = 1e-3
    warm_up: float = 0.06  # of all steps

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: up to its peak, then down to zero along a cosine."""
        first = max(1, round(self.warm_up * self.steps))
        if step < first:
            return self.rate * (step + 1) / first
        done = (step - first) / max(1, self.steps - first)
        return self.rate * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class _Tokens:
    """The tokens of a row, of which the first `prompt` are the prompt's."""

    ids: tuple[int, ...]
    prompt: int


class LoraTrainer:
    """Trains LoRAs over one base, which is opened once."""

    def __init__(self, base: Path) -> None:
        """Opens the base, a Hugging Face folder."""
        self._checkpoint = Checkpoint(base)
        self._tokenizer = load_tokenizer(self._checkpoint)
        model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa")
        self._model: Any = model.float().eval().requires_grad_(False)
        stops = stop_ids(self._checkpoint, self._tokenizer, model.config.vocab_size)
        self._stop = ending_token(stops, self._tokenizer)  # as calibration rows end

    def train(
        self,
        rows: Sequence[Written],
        out: Path,
        training: LoraTraining,
        progress: Progress = silent,
    ) -> list[float]:
        """Trains a LoRA on rows, writes it to the folder `out`, and gives the loss of each step.

        The loss is in nats a token of the completions and of the stop token behind each. The same
        seed gives the same weights on the same machine; the caller's random state is left alone.
        """
        tokens = [self._tokens(row) for row in rows]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            lora = Lora(self._model, training.rank, training.alpha)
            optimizer = torch.optim.AdamW(lora.parameters, lr=training.rate, weight_decay=0.0)
            steps = _steps([len(row.ids) for row in tokens], training)
            losses = self.begun(lora, optimizer)
            backbone = self._model.base_model
            with lora.applied(), lowered(backbone, training_dtype()):
                shown = progress(steps, f"Training {out.name}", len(steps))
                for step, chosen in enumerate(shown):
                    if step < len(losses):
                        continue  # the bar runs on
                    for group in optimizer.param_groups:
                        group["lr"] = training.rate_at(step)
                    loss = self._loss([tokens[number] for number in chosen])
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_(lora.parameters, _MAX_GRADIENT_NORM)
                    optimizer.step()
                    optimizer.zero_grad()
                    losses.append(float(loss.detach()))
                    self.stepped(lora, optimizer, losses)
        make_folder(out)
        lora.save(out)
        return losses

    def begun(self, lora: Lora, optimizer: torch.optim.Optimizer) -> list[float]:
        """The losses of steps that need not be made again: for trainers that keep them."""
        return []

    def stepped(self, lora: Lora, optimizer: torch.optim.Optimizer, losses: list[float]) -> None:
        """Called after each step, likewise."""

    def _tokens(self, row: Written) -> _Tokens:
        """A row as it is run: prompt, completion by itself, the token that ends it."""
        prompt = self._tokenizer(row.prompt).input_ids
        completion = self._tokenizer(row.completion, add_special_tokens=False).input_ids
        return _Tokens((*prompt, *completion, self._stop), len(prompt))

    def _loss(self, rows: Sequence[_Tokens]) -> torch.Tensor:
        longest = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        targets = torch.full_like(ids, -1)
        for at, row in enumerate(rows):
            ids[at, : len(row.ids)] = torch.tensor(row.ids)
            mask[at, : len(row.ids)] = 1
            # The token before each of the completion's is what it is told by.
            targets[at, row.prompt - 1 : len(row.ids) - 1] = torch.tensor(row.ids[row.prompt :])
        hidden = self._model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        told = targets >= 0
        logits = self._model.get_output_embeddings()(hidden[told])
        return functional.cross_entropy(logits, targets[told])


def _steps(lengths: Sequence[int], training: LoraTraining) -> list[list[int]]:
    """The numbers of the rows of each step, all of them once before any comes again."""
    epochs = math.ceil(training.steps * training.batch / len(lengths))
    # Where rows do not make whole batches, an epoch has one that is short: a step more.
    return batches(lengths, epochs, training.batch, training.seed)[: training.steps]
