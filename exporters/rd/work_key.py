"""What a finished layer depends on, as one key: another one, and it is computed again."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from osd_edge import __version__
from osd_edge.examples import Example
from osd_edge.exporters.compatibility import used_parameters
from osd_edge.exporters.fingerprint import fingerprint
from osd_edge.exporters.pair import Pair
from osd_edge.exporters.rd import leading, moments, whitening
from osd_edge.progress import Progress, silent


def work_key(
    pair: Pair,
    sites: Sequence[str],
    examples: Sequence[Example],
    seed: int,
    progress: Progress = silent,
) -> str:
    """64 hex digits for the weights of both models, the head, the texts and the settings."""
    head = [f"{module.path}.weight" for module in pair.head.modules]
    names = [*used_parameters(pair.backbone, pair.tuned, pair.head), *head]
    facts = {
        "version": __version__,
        "base": pair.fingerprint,
        "tuned": fingerprint(pair.tuned, names, progress, "Fingerprint of the fine-tuned model"),
        "head": [pair.head.kind, pair.head.pooling, head],
        "sites": list(sites),
        "texts": [[example.text, example.text_pair] for example in examples],
        "pictures": [_sha256(x.picture) for x in examples if x.picture is not None],
        "seed": seed,
        "columns": [whitening.WIDE, whitening.MAX_COLUMNS],
        "leading": [leading.OVERSAMPLING, leading.ROUNDS],
        "moments": [moments.EXACT, moments.ROWS],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
