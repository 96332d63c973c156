"""Writes the files that onnxruntime-genai reads into the folder of a base package."""

import json
from pathlib import Path
from typing import Any

from osd_edge.exporters.genai.config import GENAI_CONFIG, genai_config
from osd_edge.exporters.genai.tokenizer import TOKENIZER_CONFIG, tokenizer_config
from osd_edge.exporters.models.chat_reference import chat_reference
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.tokenizer import load_tokenizer
from osd_edge.formats.package.generation import Generation

TEXTS = "texts"  # what a package that genai opens takes there
TOKENS = "token ids"


def write_genai_files(base: Checkpoint, facts: Generation, hidden_size: int, folder: Path) -> str:
    """Writes `genai_config.json` and, where genai's ids are ours, `tokenizer_config.json`.

    Says what the package takes there: TEXTS, or TOKENS alone.
    """
    tokenizer = load_tokenizer(base)
    pad_id = None if tokenizer is None else tokenizer.pad_token_id
    bos_id = None if tokenizer is None else tokenizer.bos_token_id
    _write(folder / GENAI_CONFIG, genai_config(facts, hidden_size, pad_id, bos_id))
    if tokenizer is None:
        return TOKENS
    reference = chat_reference(base, tokenizer)
    described = tokenizer_config(tokenizer, None if reference is None else reference.source)
    if described is None:
        return TOKENS
    _write(folder / TOKENIZER_CONFIG, described)
    return TEXTS


def _write(path: Path, contents: dict[str, Any]) -> None:
    path.write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n", "utf-8")
