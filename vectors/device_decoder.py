"""Makes the small decoder that a device is checked with, device_tests/data/small-llama.

A model of Llama's shape with random weights and no tokenizer, and a task of it. `expected.json`
records the tokens that both write. At each of them the likeliest token is well ahead of the next,
so that another processor, which adds up in another order, writes the same.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from osd_edge.data.files import write_file
from osd_edge.device_tests.conformance.hashes import decoded_sha256
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession

EXPECTED = "expected.json"
PROMPTS = ([5, 9, 17, 30, 21, 8, 40], [33, 12, 6])
TOKENS = 12
LEAST_MARGIN = 0.05  # of the likeliest token's logit over the next: far above rounding, 1e-5
_RANK = 2  # of the task's deltas
_SEED = 58  # decided at each token, and no answer of it ends early
_SIZES: dict[str, Any] = {
    "vocab_size": 48,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def write_decoder(folder: Path) -> None:
    """Writes the base package, the task's bundle and `expected.json` to `folder`, a new one."""
    from osd_edge.exporters import export_base, export_task
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    with tempfile.TemporaryDirectory() as temporary:
        models = Path(temporary)
        base, tuned = _model(), _model()
        _tune(tuned.model.layers, seed=_SEED + 1, size=0.1)
        expected = [_written(model) for model in (base, tuned)]
        base.save_pretrained(models / "base")
        tuned.save_pretrained(models / "tuned")
        export_base(models / "base", folder, task="generate")
        bundle = folder / "writes.osd.safetensors"
        export_task(
            models / "base",
            models / "tuned",
            bundle,
            kind="generate",
            method="truncsvd",
            budget=f"r={_RANK}",
            values="fp16",
            name="writes",
        )
    found = expected_of(folder)
    if [found["tokens"], found["bundles"][0]["tokens"]] != expected:
        raise RuntimeError("the runtime writes other tokens than torch: nothing to record")
    write_file(folder / EXPECTED, (json.dumps(found, indent=1) + "\n").encode())


def expected_of(folder: Path) -> dict[str, Any]:
    """The tokens that the base in `folder` and its tasks write on this machine."""
    session = EdgeSession(folder, threads=1)
    bundles = []
    for path in sorted(folder.glob("*.osd.safetensors")):
        task = session.load(path)
        bundles.append(
            {
                "task": task,
                "file": path.name,
                "decoded_sha256": decoded_sha256(read_bundle_file(path)),
                "tokens": written(session, task),
            }
        )
    return {
        "schema": "osd-edge-device-decoder/1",
        "prompts": [list(prompt) for prompt in PROMPTS],
        "tokens": written(session, None),
        "bundles": bundles,
    }


def written(session: EdgeSession, task: str | None) -> list[list[int]]:
    """The tokens that a session writes after each of the prompts, with a task or without."""
    answers = session.generate(PROMPTS, task=task, max_tokens=TOKENS)
    return [list(answer.tokens) for answer in answers]


def _model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(_SEED)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**_SIZES)).eval()
    _shake(model, seed=_SEED, size=0.3)
    return model


def _shake(module: Any, seed: int, size: float) -> None:
    import torch

    random = np.random.RandomState(seed)  # the same numbers on every machine
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2:  # no norm, which a task leaves as it is
                noise = random.standard_normal(tuple(parameter.shape)) * size
                parameter.add_(torch.from_numpy(noise.astype(np.float32)))


def _tune(module: Any, seed: int, size: float) -> None:
    """Adds a delta of low rank to each linear layer, which a bundle of that rank has whole."""
    import torch

    random = np.random.RandomState(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2:
                n, d = parameter.shape
                delta = random.standard_normal((n, _RANK)) @ random.standard_normal((_RANK, d))
                parameter.add_(torch.from_numpy((size * delta).astype(np.float32)))


def _written(model: Any) -> list[list[int]]:
    """The tokens that torch writes; refuses a model that is undecided about one."""
    import torch

    answers = []
    for prompt in PROMPTS:
        tokens = list(prompt)
        for _ in range(TOKENS):
            with torch.no_grad():
                logits = model(torch.tensor([tokens])).logits[0, -1]
            first, second = logits.topk(2).values.tolist()
            if first - second < LEAST_MARGIN:
                raise RuntimeError(f"a margin of {first - second:.3f}: take another seed")
            tokens.append(int(logits.argmax()))
        answers.append(tokens[len(prompt) :])
    return answers
