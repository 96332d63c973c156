"""Runs a decoder's graph in onnxruntime alone, with its key caches bound in place.

What a program could reach that does nothing around the graph: no checks, no sampling, no text.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from osd_edge.formats.package.generation import LOGITS, Generation
from osd_edge.runtime.graph import open_graph

_IDS = (1000, 20_000)  # token ids that every vocabulary of a real model has
Array = NDArray[Any]


class BoundDecoder:
    """One onnxruntime session over a graph that writes text, plain or with branches."""

    def __init__(self, graph: Path, facts: Generation, threads: int = 1) -> None:
        """Opens the file `graph`, whose package states `facts`."""
        self._session = open_graph(graph, threads)
        self._facts = facts

    def token(
        self, context: int, rows: int = 1, factors: Mapping[str, Array] | None = None
    ) -> Callable[[], None]:
        """A step that reads one token of each row after `context` earlier ones.

        Run again it does the same: the new token's keys are written where they were.
        """
        return self._step(rows, context, 1, factors or {})

    def prompt(
        self, tokens: int, rows: int = 1, factors: Mapping[str, Array] | None = None
    ) -> Callable[[], None]:
        """A step that reads a prompt of `tokens` in each row, and gives its last logits."""
        return self._step(rows, 0, tokens, factors or {})

    def _step(
        self, rows: int, past: int, tokens: int, factors: Mapping[str, Array]
    ) -> Callable[[], None]:
        binding = self._session.io_binding()
        facts = self._facts
        width = past + tokens
        rng = np.random.default_rng(0)
        feeds: dict[str, Array] = {
            "input_ids": rng.integers(*_IDS, (rows, tokens)) % facts.vocabulary,
            "attention_mask": np.ones((rows, width), np.int64),
            **factors,
        }
        held: list[Any] = []
        for name, array in feeds.items():
            held.append(ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
            binding.bind_ortvalue_input(name, held[-1])
        cache = (rows, facts.heads, width, facts.head_size)
        for earlier, present in zip(facts.past, facts.present, strict=True):
            values = rng.standard_normal(cache, dtype=np.float32)
            held.append(ort.OrtValue.ortvalue_from_numpy(values))
            binding.bind_ortvalue_input(earlier, held[-1])
            binding.bind_ortvalue_output(present, held[-1])
        logits = np.zeros((rows, 1, facts.vocabulary), np.float32)
        held.append(ort.OrtValue.ortvalue_from_numpy(logits))
        binding.bind_ortvalue_output(LOGITS, held[-1])

        def run(_held: object = held) -> None:  # which the binding does not keep alive
            self._session.run_with_iobinding(binding)

        return run
