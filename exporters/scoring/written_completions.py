"""Completions that the fine-tuned model writes, for prompts of which nobody knows any."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.scoring.completions import (
    CALIBRATION,
    RowEncoder,
    WrittenExample,
    of_like_length,
)
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED

_BATCH = 32
_BATCH_TOKENS = 16384  # of a batch with its answers, whose keys and values are all in memory


def with_completions(
    models: FineTuned,
    model: TaskModel,
    examples: Sequence[Example],
    most: int,
    progress: Progress = silent,
    *,
    name: str = CALIBRATION,
) -> tuple[Example, ...]:
    """The examples, those without a completion with what the fine-tuned `model` writes.

    It writes greedily, up to `most` tokens; `name` is the rows' in refusals. Raises DataError
    `data.row`.
    """
    encoder = RowEncoder(models, name)
    prompts: dict[int, list[int]] = {}
    for i, example in enumerate(examples):
        prompt, completion = encoder.parts(example, i + 1)
        if completion is None:
            if not prompt:
                raise encoder.refusal(i + 1, "has no prompt: give one, or leave the row out")
            # A token for the answer has to have room, too.
            prompts[i] = encoder.fitting([*prompt, encoder.stop], i + 1)[:-1]
    order = sorted(prompts, key=lambda i: len(prompts[i]))
    short = [i for i in order if len(prompts[i]) + most <= encoder.most]
    lengths = [len(prompts[i]) + most for i in short]
    chosen = of_like_length(lengths, _BATCH, _BATCH_TOKENS)
    batches = [[short[number] for number in numbers] for numbers in chosen]
    # A row that fills the context has less room than others, and so none beside it.
    batches += [[i] for i in order[len(short) :]]
    written: dict[int, Example] = {}
    with model.at(TUNED) as module, torch.inference_mode():
        writer = _as_writer(module)
        for rows in progress(batches, "The fine-tuned model writes completions"):
            settings = GenerationConfig(
                max_new_tokens=min(most, encoder.most - len(prompts[rows[-1]])),
                do_sample=False,
                eos_token_id=list(encoder.stops),
                pad_token_id=encoder.pad,
            )
            answers = _answers(writer, [prompts[i] for i in rows], settings)
            for i, answer in zip(rows, answers, strict=True):
                known = vars(examples[i]) | {"completion": encoder.tokenizer.decode(answer)}
                written[i] = WrittenExample(**known, tokens=tuple(answer))
    return tuple(written.get(i, example) for i, example in enumerate(examples))


def _answers(
    writer: Any, prompts: Sequence[list[int]], settings: GenerationConfig
) -> list[list[int]]:
    """The tokens after each prompt, with the one that ended it."""
    width = max(map(len, prompts))
    pad: Any = settings.pad_token_id
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    whole = writer.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
    stops: Any = settings.eos_token_id
    found = []
    for row in whole[:, width:].tolist():
        ends = [i for i, token in enumerate(row) if token in stops]
        found.append(row[: ends[0] + 1] if ends else row)
    return found


def _as_writer(module: Any) -> Any:
    """A model of transformers that writes with the layers of a task's `module`."""
    with torch.device("meta"):
        writer = AutoModelForCausalLM.from_config(module.config)
    setattr(writer, writer.base_model_prefix, module.base_model)
    weight, bias = module.language.weight, module.language.bias
    n, d = weight.shape
    head = torch.nn.Linear(d, n, bias=bias is not None, device="meta")
    head.weight = torch.nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        head.bias = torch.nn.Parameter(bias, requires_grad=False)
    writer.set_output_embeddings(head)
    return writer.eval()
