"""Measures the cost of the shortcuts for wide layers against the exact way, on all-MiniLM-L6-v2.

Exports a fine-tuned checkpoint of SHARED without training, first exactly, then with each shortcut
forced on layers that are far too small to need it, and prints the divergence from the fine-tuned
model on texts that tuned nothing, in nats. A layer with 1,536 inputs stands for one with 8,192.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

from osd_edge.cli.bars import bar
from osd_edge.data.examples import Example, read_examples

# Settings by the module that they are in.
_SKETCH = "osd_edge.exporters.methods.osd_rd.moments"
_FEEDBACK = "osd_edge.exporters.methods.osd_rd.feedback"
_WHITENING = "osd_edge.exporters.methods.osd_rd.whitening"
VARIANTS: dict[str, dict[str, Any]] = {
    "exact": {},
    "leading columns": {f"{_WHITENING}.WIDE": 1},
    "feedback in four parts": {f"{_FEEDBACK}.EXACT": 512, f"{_FEEDBACK}.WIDEST_PART": 384},
    **{
        f"sketches of {rows} rows for 1,536 features": {
            f"{_SKETCH}.EXACT": 512,
            f"{_SKETCH}.ROWS": rows,
        }
        for rows in (192, 384, 768)
    },
    "a factor chosen on 32 texts": {"osd_edge.exporters.methods.osd_rd.compress.MOST_TEXTS": 32},
    "all three, 384 rows": {
        f"{_WHITENING}.WIDE": 1,
        f"{_FEEDBACK}.EXACT": 512,
        f"{_FEEDBACK}.WIDEST_PART": 384,
        f"{_SKETCH}.EXACT": 512,
        f"{_SKETCH}.ROWS": 384,
    },
}


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--shared", type=click.Path(path_type=Path), default=Path("../shared"))
@click.option("--task", default="trec", show_default=True)
@click.option("--rows", default=512, show_default=True, help="Calibration rows that tune.")
@click.option("--held", default=300, show_default=True, help="Rows that score.")
@click.option("--budget", "budgets", multiple=True, default=["16KiB", "64KiB"], show_default=True)
@click.option("--variant", "variants", multiple=True, type=click.Choice(list(VARIANTS)))
def main(
    shared: Path,
    task: str,
    rows: int,
    held: int,
    budgets: tuple[str, ...],
    variants: tuple[str, ...],
) -> None:
    """Print a line of JSON for each variant, with the divergence at each budget."""
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    examples = read_examples(shared / "data" / task / "train.tsv")
    chosen = examples[:: max(1, len(examples) // (rows + held))][: rows + held]
    scored, tuning = chosen[:held], chosen[held:]
    for name in variants or VARIANTS:
        with patched(VARIANTS[name]):
            begun = time.process_time()
            found = divergences(shared / "checkpoints" / task, tuning, scored, budgets)
        line = {"task": task, "variant": name, "divergence": found}
        print(json.dumps(line | {"cpu_s": round(time.process_time() - begun)}), flush=True)


def divergences(
    tuned: Path, tuning: Sequence[Example], scored: Sequence[Example], budgets: Sequence[str]
) -> dict[str, float]:
    """Divergence on `scored` of a bundle made on `tuning`, by budget."""
    from osd_edge.exporters.demo.minilm import minilm_folder
    from osd_edge.exporters.methods.budget import parse_budget
    from osd_edge.exporters.methods.osd_rd.bundles import RateDistortionBundles, Wanted
    from osd_edge.exporters.scoring.calibrated_task import calibrated
    from osd_edge.exporters.task import TaskExporter

    unlabelled = [Example(e.text, text_pair=e.text_pair) for e in scored]
    exporter = TaskExporter(minilm_folder(), tuned, calibration=tuning, progress=bar)
    source = exporter.source
    calibrated_task = calibrated(source.models, unlabelled, model=source.model)
    found = {}
    for budget in budgets:
        bundles = source.shared(RateDistortionBundles, 0)
        made = bundles.within(Wanted("t", "none"), parse_budget(budget))
        score = calibrated_task.score(made.bundle.sites, made.bundle.head)
        found[budget] = round(score.loss, 4)
    return found


@contextmanager
def patched(settings: dict[str, Any]) -> Iterator[None]:
    """Within this, module settings have other values."""
    started = [patch(name, value) for name, value in settings.items()]
    for change in started:
        change.start()
    try:
        yield
    finally:
        for change in started:
            change.stop()


if __name__ == "__main__":
    sys.exit(main())
