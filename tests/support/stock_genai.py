"""Stock onnxruntime-genai over a base package, as an app uses it: greedy answers, and adapters."""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from osd_edge import read_manifest
from osd_edge.exporters.adapters.onnx_adapter import export_onnx_adapter
from osd_edge.runtime import EdgeSession, GeneratedText


def library() -> Any:
    """The package onnxruntime_genai; skips the test where it is not installed, but never in CI."""
    try:
        return import_module("onnxruntime_genai")
    except ModuleNotFoundError:
        reason = "needs onnxruntime-genai, which needs onnxruntime 1.31 or later"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


class Stock:
    """The package's folder as it is, opened by genai, with tasks by name."""

    def __init__(self, package: Path, adapters: Mapping[str, Path] | None = None) -> None:
        """Opens `package`, and loads adapter files made for it."""
        self._library = library()
        self.model = self._library.Model(str(package))
        self.adapters = self._library.Adapters(self.model)
        for name, path in (adapters or {}).items():
            self.adapters.load(str(path), name)

    def generator(self, most: int, rows: int = 1) -> Any:
        """A generator of answers that end after `most` tokens in all."""
        settings = self._library.GeneratorParams(self.model)
        settings.set_search_options(max_length=most, batch_size=rows)
        return self._library.Generator(self.model, settings)

    def answer(self, prompt: Sequence[int], count: int, task: str | None = None) -> list[int]:
        """The tokens after a prompt, with the one that ends an answer."""
        generator = self.generator(len(prompt) + count)
        if task is not None:
            generator.set_active_adapter(self.adapters, task)
        generator.append_tokens(list(prompt))
        return list(tokens_of(generator, count))


def tokens_of(generator: Any, count: int) -> Iterator[int]:
    """The next tokens of a generator of one row, `count` of them unless the answer ends."""
    for _ in range(count):
        if generator.is_done():
            return
        generator.generate_next_token()
        yield int(generator.get_next_tokens()[0])


def adapters_of(package: Path, bundles: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Writes task bundles as adapters for `package`, in `folder`."""
    made = {}
    for name, bundle in bundles.items():
        made[name] = folder / f"{name}.onnx_adapter"
        export_onnx_adapter(bundle, package, made[name])
    return made


def same(found: Sequence[int], answer: GeneratedText, session: EdgeSession) -> bool:
    """Compares genai's tokens with a session's answer, which keeps no stop token."""
    facts = session.manifest.generation
    assert facts is not None
    if answer.ended != "stop":
        return list(found) == list(answer.tokens)
    return list(found[:-1]) == list(answer.tokens) and found[-1] in facts.stop_ids


def prompts(package: Path, count: int = 4) -> list[list[int]]:
    """Prompts of random tokens, of 1 to 30 of them."""
    import numpy as np

    facts = read_manifest(package).generation
    assert facts is not None
    random = np.random.default_rng(0)
    lengths = (1, 30, 7, 18)[:count]
    return [[int(x) for x in random.integers(4, facts.vocabulary, length)] for length in lengths]
