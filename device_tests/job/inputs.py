"""Makes up token inputs to measure with: valid, and the same every time.

Standard library only at run time, as memory is measured before numpy is imported.
"""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osd_edge.device_tests.plan import SEED
from osd_edge.errors import Code, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from osd_edge.formats.package.manifest import BaseManifest

_TOKENIZER = "tokenizer.json"  # as in `formats.package.manifest`, which imports numpy
_MANIFEST = "manifest.json"
_SMALL_IDS = range(2, 10)  # where there is no tokenizer: every vocabulary has these


def token_ids(base: Path, batch: int, tokens: int) -> list[list[int]]:
    """Draws ids `[batch, tokens]` with a fixed seed from base package `base`'s vocabulary."""
    ids = _vocabulary(base / _TOKENIZER)
    rng = random.Random(SEED)
    return [rng.choices(ids, k=tokens) for _ in range(batch)]


def writes_text(base: Path) -> bool:
    """Says whether the manifest in folder `base` states that the base writes text.

    It is read as plain JSON; what is wrong with it is told where the base is opened.
    """
    try:
        return json.loads((base / _MANIFEST).read_text("utf-8"))["generation"] is not None
    except (OSError, ValueError, KeyError, TypeError):
        return False


def graph_inputs(manifest: "BaseManifest", ids: list[list[int]]) -> "dict[str, NDArray[np.int64]]":
    """Makes every token input of the base, `[batch, tokens]`: `ids`, a full mask, else zeros.

    Raises InputError `input.max-length` where the base takes no such length.
    """
    import numpy as np

    tokens = len(ids[0])
    if manifest.text is not None and tokens > manifest.text.max_length:
        raise InputError(
            Code.INPUT_MAX_LENGTH,
            f"expected 1 to {manifest.text.max_length} tokens, found {tokens}",
        )
    shape = (len(ids), tokens)
    inputs = {
        name: np.full(shape, int(name == "attention_mask"), np.int64) for name in manifest.inputs
    }
    return inputs | {"input_ids": np.array(ids, np.int64)}


def _vocabulary(path: Path) -> list[int]:
    try:
        vocabulary: Any = json.loads(path.read_text("utf-8"))["model"]["vocab"]
    except (OSError, ValueError, KeyError, TypeError):
        vocabulary = None
    if isinstance(vocabulary, dict):  # token -> id
        ids = sorted(id_ for id_ in vocabulary.values() if type(id_) is int and id_ >= 0)
    elif isinstance(vocabulary, list):  # Unigram: one entry an id
        ids = list(range(len(vocabulary)))
    else:
        ids = []
    return ids or list(_SMALL_IDS)
