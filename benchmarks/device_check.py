"""Checks that the device runtime answers as torch does with the weights that were scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osd_edge.data.examples import Example
from osd_edge.exporters.compare.peers.bundles import restore_bundle
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.batches import MAX_TOKENS
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.text_set import TextSet
from osd_edge.exporters.scoring.weight_sets import Dense
from osd_edge.runtime import EdgeSession

ROWS = 200
_BATCH = 8


@dataclass(frozen=True)
class DeviceCheck:
    """The largest difference of a logit, and rows of `rows` with another answer.

    `what` is the method and budget of the bundle, `size` its bytes.
    """

    what: str
    size: int
    rows: int
    largest_difference: float
    other_answers: int


def check_device(
    package: Path, base: Path, tuned: Path, bundle: Path, examples: Sequence[Example], what: str
) -> DeviceCheck:
    """Logits of EdgeSession over `package`, beside torch over `base`, on the first rows.

    `what` names the bundle in the report.
    """
    chosen = examples[:ROWS]
    models = open_fine_tuned(base, tuned)
    model = TaskModel(models.backbone, models.tuned)
    restored = restore_bundle(bundle.read_bytes(), models.backbone)
    with model.at(Dense(restored.deltas, restored.head)) as module:
        expected = TextSet(models, chosen).logits(module).numpy()
    session = EdgeSession(package)
    task = session.load(bundle)
    found = []
    for start in range(0, len(chosen), _BATCH):
        texts = [example.text for example in chosen[start : start + _BATCH]]
        output = session.run(session.encode(texts, max_length=MAX_TOKENS, task=task), task=task)
        assert output.logits is not None
        found.append(output.logits)
    logits = np.concatenate(found)
    return DeviceCheck(
        what,
        bundle.stat().st_size,
        len(chosen),
        float(np.abs(logits - expected).max()),
        int((logits.argmax(-1) != expected.argmax(-1)).sum()),
    )
