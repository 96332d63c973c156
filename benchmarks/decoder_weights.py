"""Compares a decoder's packages with int8 and int4 weights to the one in fp32, token by token.

    python -m benchmarks.decoder_weights FP32 INT8 INT4 --bundle TASK.osd.safetensors --data ROWS

The rows have a `prompt` and a `completion`. Where both are given, the logits of the completion's
tokens and of the stop token are compared with those of the first package: KL(first ‖ other) in
nats a token, the share of tokens whose likeliest is the same, and rows all of whose likeliest
tokens are the completion (which greedy answers then give exactly). Over the base alone the texts
are the same.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.package.generation import ALL_LOGITS, LOGITS
from osd_edge.runtime import EdgeSession

LogChances = NDArray[np.float64]


@dataclass(frozen=True)
class TokenRow:
    """The tokens of a prompt and its completion, and where the completion begins."""

    tokens: list[int]
    start: int


def main() -> None:
    """Runs every package with and without the task, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100)
    given = parser.parse_args()
    lines = given.data.read_text("utf-8").splitlines()[: given.rows]
    texts = [json.loads(line) for line in lines]
    first: dict[str, list[LogChances]] = {}
    print("| weights | | KL, nats a token | same likeliest | exact rows |\n|---|---|---|---|---|")
    for package in given.packages:
        with EdgeSession(package, threads=1) as session:
            name = session.load(given.bundle)
            rows = [row_of(session, text) for text in texts]
            for label, task in (("base alone", None), ("task", name)):
                found = [log_chances(session, row, task) for row in rows]
                expected = first.setdefault(label, found)
                print(line_of(str(session.manifest.made["weights"]), label, rows, found, expected))


def row_of(session: EdgeSession, text: dict[str, str]) -> TokenRow:
    """The tokens of a row of the file."""
    facts = session.manifest.generation
    assert facts is not None
    both = [session.encode([part])["input_ids"][0].tolist() for part in text.values()]
    return TokenRow([*both[0], *both[1], facts.stop_ids[0]], len(both[0]))


def log_chances(session: EdgeSession, row: TokenRow, task: str | None) -> LogChances:
    """Logarithms of the chances `[tokens, vocabulary]` of each token of the completion."""
    parts = session._parts
    decoded = parts.tasks.resolve(task)
    facts = session.manifest.generation
    assert facts is not None
    none = np.zeros((1, facts.heads, 0, facts.head_size), np.float32)
    feeds: dict[str, Any] = {
        "input_ids": np.array([row.tokens[:-1]]),
        "attention_mask": np.ones((1, len(row.tokens) - 1), np.int64),
        ALL_LOGITS: np.array(1),
        **dict.fromkeys(facts.past, none),
        **({} if decoded is None else decoded.feeds),
    }
    logits = parts.base.results([LOGITS], feeds)[0][0, row.start - 1 :].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    found: LogChances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return found


def line_of(
    weights: str,
    label: str,
    rows: Sequence[TokenRow],
    found: Sequence[LogChances],
    expected: Sequence[LogChances],
) -> str:
    """A line of the table."""
    ours, theirs = np.concatenate(found), np.concatenate(expected)
    divergence = float((np.exp(theirs) * (theirs - ours)).sum(axis=1).mean())
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    exact = [
        bool((own.argmax(axis=1) == row.tokens[row.start :]).all())
        for row, own in zip(rows, found, strict=True)
    ]
    return f"| {weights} | {label} | {divergence:.4f} | {same:.1%} | {np.mean(exact):.1%} |"


if __name__ == "__main__":
    main()
