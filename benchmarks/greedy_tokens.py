"""Compares greedy answers of a package with torch's, token by token: the base alone and a LoRA.

    python -m benchmarks.greedy_tokens MODEL --adapter ADAPTER --prompts FILE.jsonl

MODEL is a decoder's folder, FILE has a `prompt` a row. The adapter is stored at its full rank, in
fp32, so that nothing but arithmetic differs. A token may differ from torch's where the likeliest
two are closer than 0.001 there; the comparison of that row ends at such a token.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from osd_edge.exporters import export_base, export_task
from osd_edge.runtime import EdgeSession

TOKENS = 64
MARGIN = 1e-3  # of the two likeliest logits, below which either may be taken


def main() -> None:
    """Exports, writes and compares; prints a line for each side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=8)
    given = parser.parse_args()
    rank = json.loads((given.adapter / "adapter_config.json").read_text())["r"]
    lines = given.prompts.read_text("utf-8").splitlines()[: given.rows]
    prompts = [json.loads(line)["prompt"] for line in lines]
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32).eval()
    with tempfile.TemporaryDirectory() as folder:
        package, bundle = Path(folder, "package"), Path(folder, "task.osd.safetensors")
        export_base(given.model, package, task="generate")
        export_task(
            given.model,
            None,
            bundle,
            adapters=[(given.adapter, 1.0)],
            method="truncsvd",
            budget=f"r={rank}",
        )
        with EdgeSession(package) as session:
            name = session.load(bundle)
            compare("base alone", session, None, model, prompts)
            tuned = PeftModel.from_pretrained(model, given.adapter).eval()
            compare("LoRA", session, name, tuned, prompts)


def compare(
    label: str, session: EdgeSession, task: str | None, model: Any, prompts: list[str]
) -> None:
    """Writes all prompts in one batch, and checks each token against torch's logits."""
    same = close = different = 0
    answers = session.generate(prompts, task=task, max_tokens=TOKENS)
    stops = session.manifest.generation.stop_ids if session.manifest.generation else ()
    for prompt, answer in zip(prompts, answers, strict=True):
        ended = [stops[0]] if answer.ended == "stop" else []
        before = session.encode([prompt])["input_ids"][0].tolist()
        tokens = [*answer.tokens, *ended]
        with torch.no_grad():
            logits = model(torch.tensor([[*before, *tokens]])).logits[0, len(before) - 1 :]
        for token, row in zip(tokens, logits, strict=False):
            first, second = row.topk(2).values.tolist()
            if token == int(row.argmax()):
                same += 1
            elif first - second <= MARGIN:
                close += 1
            else:
                different += 1
    print(
        f"{label}: {len(prompts)} rows, {same} tokens are torch's, {close} differ where torch's "
        f"likeliest two are within {MARGIN}, {different} differ otherwise"
    )


if __name__ == "__main__":
    main()
