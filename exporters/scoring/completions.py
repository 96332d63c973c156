"""Prompts and their completions as batches of tokens, as a device sees them.

A prompt is tokenized as the runtime does it, its completion by itself, since that is how it is
written: after the prompt's tokens. The token that ends an answer comes last, and counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from osd_edge.data.examples import Example
from osd_edge.errors import Code, DataError, shown
from osd_edge.exporters.kinds.generate import NOT_COUNTED
from osd_edge.exporters.models.chat_reference import chat_reference
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.models.stop_tokens import ending_token, stop_ids
from osd_edge.exporters.models.tokenizer import max_tokens, tokenizer_for
from osd_edge.exporters.scoring.batches import Batch
from osd_edge.formats.package.chat import ROLES, Message

CALIBRATION = "calibration set"
MOST_TOKENS = 2048  # of a row; attention grows with its square
_BATCH_TOKENS = 4096  # of a batch with its padding
_ASSISTANT = "assistant"


@dataclass(frozen=True)
class PromptRow:
    """The tokens of a prompt and its completion, and where the completion begins."""

    tokens: list[int]
    start: int


@dataclass(frozen=True)
class WrittenExample(Example):
    """An example whose completion a model wrote, with its tokens: text may tell another story."""

    tokens: tuple[int, ...] = ()


class RowEncoder:
    """Turns examples into rows, by the tokenizer, template and stop tokens of a task."""

    def __init__(self, models: FineTuned, of: str = CALIBRATION) -> None:
        """Read them; refusals call the set of rows `of`.

        Raises ModelError, DataError `data.tokenizer`.
        """
        self._of = of
        base = models.backbone.checkpoint
        self.tokenizer = tokenizer_for(models.tuned, base)
        self._vocabulary = models.language_head.vocabulary
        self.stops = stop_ids(base, self.tokenizer, self._vocabulary)
        # A mask says what is padding, so that any token of the model's stands in for another.
        known = self.tokenizer.pad_token_id < self._vocabulary
        self.pad: int = self.tokenizer.pad_token_id if known else 0
        self.stop = ending_token(self.stops, self.tokenizer)
        self.most = min(MOST_TOKENS, max_tokens(base, self.tokenizer))
        self._chat = chat_reference(base, self.tokenizer)
        added = self.tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
        self._special = [x.content for x in added if x.special and x.content.strip()]

    def row(self, example: Example, number: int) -> PromptRow:
        """The tokens of an example, the one of this `number` from 1.

        Where there is nothing in a prompt, all but the first token of the completion count. Raises
        DataError `data.row` for one that is empty or too long, `data.completion` for one of which
        nobody says what is to be written.
        """
        prompt, completion = self.parts(example, number)
        if completion is None:
            raise self.refusal(
                number,
                'has no completion: give one (in a .jsonl, {"prompt", "completion"}), or '
                "--complete TOKENS for the model to write it",
                Code.DATA_COMPLETION,
            )
        tokens = self.fitting([*prompt, *completion], number)
        if len(tokens) < 2:
            raise self.refusal(number, "is empty")
        return PromptRow(tokens, max(len(prompt), 1))

    def fitting(self, tokens: list[int], number: int) -> list[int]:
        """The tokens as they are; raises DataError `data.row` where they are too many, or unknown.

        A tokenizer may have more tokens than its model.
        """
        if max(tokens, default=0) >= self._vocabulary:
            raise self.refusal(
                number,
                f"has token {max(tokens)}, and the model has {self._vocabulary}: shorten the "
                "tokenizer or leave the row out",
            )
        if len(tokens) > self.most:
            raise self.refusal(
                number,
                f"is {len(tokens)} tokens long, and at most {self.most} are used: shorten it or "
                "leave it out",
            )
        return tokens

    def parts(self, example: Example, number: int) -> tuple[list[int], list[int] | None]:
        """The tokens of the prompt, and of the completion with a stop token; None without one."""
        if example.messages is None:
            prompt = self._encode(example.text, special=True)
            known = example.completion is not None
            answer = self._ended(self._encode(example.completion or "")) if known else None
        else:
            prompt, answer = self._conversation(example, number)
        return prompt, list(example.tokens) if isinstance(example, WrittenExample) else answer

    def refusal(self, number: int, why: str, code: Code = Code.DATA_ROW) -> DataError:
        """The refusal of the row of this `number`."""
        return DataError(code, f"row {number} of the {self._of} {why}")

    def _ended(self, answer: list[int]) -> list[int]:
        """An answer with a stop token, which many texts bring along."""
        return answer if answer and answer[-1] in self.stops else [*answer, self.stop]

    def _conversation(self, example: Example, number: int) -> tuple[list[int], list[int] | None]:
        """All messages but the last are the prompt, if that one is the model's answer."""
        assert example.messages is not None
        if self._chat is None:
            raise self.refusal(
                number,
                'has messages, and the model has no chat template: give {"prompt", "completion"}',
            )
        messages = [Message(m["role"], m["content"]) for m in example.messages]
        answered = messages[-1].role == _ASSISTANT
        asked = messages[:-1] if answered else messages
        if not asked:
            raise self.refusal(number, "has an answer alone: there is nothing to answer")
        self._check_content(asked, number)
        prompt = self._chat.text(asked)
        if prompt is None:
            why = shown(self._chat.why_not(asked), 80)
            raise self.refusal(number, f"has messages that the chat template refuses: {why}")
        ids = self._chat.tokens_of(prompt)
        if not answered:
            return ids, None
        whole = self._chat.text(messages, answer=False) or ""
        if not whole.startswith(prompt):  # a template that writes turns of the past otherwise
            return ids, self._ended(self._encode(messages[-1].content))
        answer = self._chat.tokens_of(whole[len(prompt) :])
        ends = [i for i, token in enumerate(answer) if token in self.stops]
        return ids, answer[: ends[0] + 1] if ends else [*answer, self.stop]

    def _check_content(self, messages: Sequence[Message], number: int) -> None:
        """Refuses (`data.row`) what a device does not take, or takes otherwise.

        It knows three roles, and a special token in a message stays text.
        """
        other = next((m.role for m in messages if m.role not in ROLES), None)
        if other is not None:
            raise self.refusal(
                number, f"has a message by {shown(other, 40)!r}: expected {', '.join(ROLES)}"
            )
        found = next((s for s in self._special for m in messages if s in m.content), None)
        if found is not None:
            raise self.refusal(
                number,
                f"has {shown(found)} in a message, which on a device is no token but text: leave "
                "it out, or give prompts and completions",
            )

    def _encode(self, text: str, *, special: bool = False) -> list[int]:
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        ids: list[int] = backend.encode(text, add_special_tokens=special).ids
        return ids


def check_rows(models: FineTuned, examples: Sequence[Example], of: str = CALIBRATION) -> None:
    """Refuses, as `RowEncoder.row` does, a row that is none, by its number among all."""
    encoder = RowEncoder(models, of)
    for number, example in enumerate(examples, 1):
        encoder.row(example, number)


def completion_batches(models: FineTuned, examples: Sequence[Example], size: int) -> list[Batch]:
    """Batches of up to `size` rows of like length.

    Each batch's `labels` `[rows, tokens]` are the next token where a completion's is predicted, and
    NOT_COUNTED elsewhere; among its tokens, `counted` says where those are.
    """
    encoder = RowEncoder(models)
    rows = [encoder.row(example, i) for i, example in enumerate(examples, 1)]
    chosen = of_like_length([len(row.tokens) for row in rows], size, _BATCH_TOKENS)
    return [_batch([rows[i] for i in numbers], numbers, encoder.pad) for numbers in chosen]


def of_like_length(lengths: Sequence[int], size: int, tokens: int) -> list[list[int]]:
    """The numbers of rows of these `lengths`, the shortest first, as batches.

    A batch has up to `size` rows, and up to `tokens` tokens with its padding, if not one row alone.
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    batches = []
    while order:
        fitting = min(size, len(order))
        while fitting > 1 and fitting * lengths[order[fitting - 1]] > tokens:
            fitting -= 1
        batches.append(order[:fitting])
        order = order[fitting:]
    return batches


def _batch(rows: Sequence[PromptRow], numbers: Sequence[int], pad: int) -> Batch:
    """One batch of rows; the last token of each is predicted and not read."""
    width = max(len(row.tokens) for row in rows) - 1
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, NOT_COUNTED)
    for i, row in enumerate(rows):
        end = len(row.tokens) - 1
        ids[i, :end] = torch.tensor(row.tokens[:-1])
        mask[i, :end] = 1
        labels[i, row.start - 1 : end] = torch.tensor(row.tokens[row.start :])
    tokens = {"input_ids": ids, "attention_mask": mask, "counted": labels != NOT_COUNTED}
    return Batch(tokens, labels, tuple(numbers))
