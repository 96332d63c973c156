"""Shows whether rows that fine-tuned models were trained on are told from new ones.

The figures of docs/rows.md:

    python -m benchmarks.familiarity --base path/to/minilm --checkpoints DIR --data DIR

`training.json` beside a checkpoint has how many of the first rows of train.tsv it was trained on.
"""

import argparse
import json
import random
from pathlib import Path

from osd_edge.data.examples import Example, read_examples
from osd_edge.exporters.models.fine_tuned import FineTuned, open_fine_tuned
from osd_edge.exporters.scoring.calibrated_task import batches_of
from osd_edge.exporters.scoring.calibration import Calibration
from osd_edge.exporters.scoring.familiar_rows import familiarity
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED


def main() -> None:
    """Print a row for each set of rows of each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--base", "--checkpoints", "--data"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1000)
    given = parser.parse_args()
    print("| task | rows | sure | right | excess | taken for |")
    print("|---|---|---|---|---|---|")
    for training in sorted(given.checkpoints.glob("*/training.json")):
        facts = json.loads(training.read_text("utf-8"))
        if "train_examples" in facts:
            models = open_fine_tuned(given.base, training.parent)
            train, test = (
                read_examples(given.data / facts["task"] / f"{part}.tsv")
                for part in ("train", "test")
            )
            _show(models, "trained on", train[: facts["train_examples"]], given.rows)
            _show(models, "new", test, given.rows)


def _show(models: FineTuned, what: str, examples: tuple[Example, ...], rows: int) -> None:
    chosen = random.Random(0).sample(examples, min(rows, len(examples)))
    with TaskModel(models.backbone, models.tuned, models.head).at(TUNED) as module:
        found = familiarity([Calibration(batches_of(models, chosen), module)])
    assert found is not None, "rows have labels"
    verdict = {True: "known", False: "new", None: "not told"}[found.seen]
    print(
        f"| `{models.tuned.folder.name}` | {found.rows} {what} | {found.sure:.1%} | "
        f"{found.right:.1%} | {found.excess:+.2f} | {verdict} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
