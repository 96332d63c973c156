"""The key of all that a finished layer depends on: under another key it is computed again."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osd_edge import __version__
from osd_edge.data.digest import file_digest
from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.methods.osd_rd import leading, moments, whitening
from osd_edge.exporters.models.compatibility import used_parameters
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.models.fingerprint import fingerprint
from osd_edge.exporters.scoring.bfloat16 import training_dtype
from osd_edge.exporters.scoring.completions import WrittenExample

# Files that say how a model computes and reads texts.
_DESCRIBE = ("*.json", "*.txt", "*.model", "*.jinja")


def work_key(
    models: FineTuned,
    sites: Sequence[str],
    examples: Sequence[Example],
    seed: int,
    progress: Progress = silent,
) -> str:
    """64 hex digits for both models' weights and settings, the head, the texts and our settings."""
    head = [module.path for module in models.head.modules]
    parts = [f"{path}.{part}" for path in head for part in ("weight", "bias")]
    norms = [
        f"{m.norm}.{part}" for m in models.head.modules for part in ("weight", "bias") if m.norm
    ]
    own = [name for name in (*parts, *norms) if name in models.tuned]
    names = [*used_parameters(models.backbone, models.tuned, models.head), *own]
    folders = (models.backbone.checkpoint.folder, models.tuned.folder)
    described = [sorted(p for e in _DESCRIBE for p in folder.glob(e)) for folder in folders]
    facts = {
        "version": __version__,
        "base": models.fingerprint,
        "tuned": fingerprint(models.tuned, names, progress, "Fingerprint of the fine-tuned model"),
        "head": [models.head.kind, models.head.pooling, head],
        "cut": models.texts.most,
        "own": models.texts.text and models.texts.text.described(),
        "models": [[[p.name, file_digest(p)] for p in files] for files in described],
        "multiplies": str(training_dtype()),
        "sites": list(sites),
        "texts": [_text(example) for example in examples],
        "pictures": [file_digest(Path(x.picture)) for x in examples if x.picture is not None],
        "seed": seed,
        "columns": [whitening.WIDE, whitening.MAX_COLUMNS],
        "leading": [leading.OVERSAMPLING, leading.ROUNDS],
        "moments": [moments.EXACT, moments.ROWS],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _text(example: Example) -> list[Any]:
    messages = example.messages and [dict(message) for message in example.messages]
    tokens = list(example.tokens) if isinstance(example, WrittenExample) else None
    return [example.text, example.text_pair, example.completion, messages, tokens]
