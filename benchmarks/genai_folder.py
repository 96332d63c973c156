"""Lays out a base package as a folder that stock onnxruntime-genai opens."""

import json
import os
from pathlib import Path
from typing import Any

import onnx

from osd_edge.formats.package.generation import LOGITS, PARTS, PAST, PRESENT
from osd_edge.formats.package.manifest import MODEL, WEIGHTS
from osd_edge.formats.package.manifest_reader import read_manifest


def genai_folder(package: Path, folder: Path, threads: int = 1) -> None:
    """Makes `folder` with the graph and weights of `package`, and `genai_config.json`.

    Sessions that genai opens over it have that many threads; past and present keys share a buffer.
    """
    folder.mkdir(parents=True)
    os.link(package / WEIGHTS, folder / WEIGHTS)
    model = onnx.load(str(package / MODEL), load_external_data=False)
    for output in model.graph.output:
        if output.name == LOGITS:  # genai makes room for every token's logits unless it is said
            output.type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save_model(model, str(folder / MODEL))
    (folder / "genai_config.json").write_text(json.dumps(_config(package, threads)), "utf-8")


def _config(package: Path, threads: int) -> dict[str, Any]:
    manifest = read_manifest(package)
    facts = manifest.generation
    assert facts is not None
    key, value = PARTS

    def names(pattern: str) -> dict[str, str]:
        kind = pattern.partition("_")[0].partition(".")[0]  # past, present
        return {
            f"{kind}_{part}_names": pattern.format(layer="%d", part=part) for part in (key, value)
        }

    stop = list(facts.stop_ids)
    return {
        "model": {
            "type": "decoder",
            "context_length": facts.context,
            "vocab_size": facts.vocabulary,
            "eos_token_id": stop,
            "pad_token_id": stop[0] if stop else 0,
            "decoder": {
                "session_options": {"intra_op_num_threads": threads, "provider_options": []},
                "filename": MODEL,
                "hidden_size": manifest.hidden_size,
                "head_size": facts.head_size,
                "num_attention_heads": facts.heads,
                "num_key_value_heads": facts.heads,
                "num_hidden_layers": facts.layers,
                "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask"}
                | names(PAST),
                "outputs": {"logits": LOGITS} | names(PRESENT),
            },
        },
        "search": {"do_sample": False, "past_present_share_buffer": True},
    }
