"""Answers of a span finder by torch, as the pipeline that transformers 4 had gives them."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

_LONGEST = 15  # tokens of an answer


class SpanFinder:
    """The uncompressed model of questions and answers in a folder, with its tokenizer."""

    def __init__(self, folder: Path) -> None:
        """Read model and tokenizer."""
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()

    def __call__(
        self, question: str, context: str, *, top: int = 1, max_length: int = 384, stride: int = 128
    ) -> list[dict[str, Any]]:
        """The `top` answers: `text`, `start` and `end` in letters, `score`, the best first.

        A long context is read in windows of `max_length` tokens that share `stride`. A span's
        score is its start's probability times its end's, over the window's context and the first
        token. Spans are whole words, and scores of equal texts add up.
        """
        tokens = self._tokenizer(
            question,
            context,
            truncation="only_second",
            max_length=max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_token_type_ids=True,
            padding=True,
            return_tensors="pt",
        )
        names = ("input_ids", "attention_mask", "token_type_ids")
        with torch.inference_mode():
            output = self._model(**{name: tokens[name] for name in names})
        answers: dict[str, dict[str, Any]] = {}
        for i in range(len(tokens["input_ids"])):
            allowed = torch.tensor([one == 1 for one in tokens.sequence_ids(i)])
            allowed[0] = True
            starts, ends = (
                logits[i].masked_fill(~allowed, -10000.0).softmax(-1)
                for logits in (output.start_logits, output.end_logits)
            )
            starts[0] = ends[0] = 0
            scores = torch.outer(starts, ends).triu().tril(_LONGEST - 1)
            scores[~allowed, :] = 0
            best = scores.flatten().topk(min(2 * top + 10, scores.numel()))
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                first, last = divmod(index, scores.shape[1])
                if not (allowed[first] and allowed[last]) or not score:
                    continue
                start, end = self._letters(tokens, i, first)[0], self._letters(tokens, i, last)[1]
                text = context[start:end]
                answer = answers.setdefault(
                    text.lower(), {"text": text, "start": start, "end": end, "score": 0.0}
                )
                answer["score"] += score
        return sorted(answers.values(), key=lambda one: -one["score"])[:top]

    @staticmethod
    def _letters(tokens: Any, row: int, token: int) -> tuple[int, int]:
        """Where the word of a token begins and ends in the context."""
        span = tokens.word_to_chars(row, tokens.token_to_word(row, token), sequence_index=1)
        return span.start, span.end
