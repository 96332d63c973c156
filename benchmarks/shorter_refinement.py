"""Measures how much of the gain of `scales` is left with fewer steps and fewer texts a step.

Exports a fine-tuned checkpoint of SHARED over all-MiniLM-L6-v2, refined for each length in turn,
and prints the divergence from the fine-tuned model on texts that tuned nothing, in nats. Texts may
be joined to longer ones, as large models are given them.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import click

from osd_edge.data.examples import Example, read_examples

LENGTHS = ("160x16", "160x8", "160x4", "80x16", "80x8", "80x4", "40x16", "40x8", "40x4")
_RATES = ("LATENT_RATE", "SCALE_RATE", "BIAS_RATE")


@dataclass(frozen=True)
class Length:
    """STEPSxTEXTS, then @TIMES the usual rates, then /BATCHES that are gone through again."""

    steps: int
    texts: int
    rate: float
    batches: int

    @classmethod
    def parse(cls, text: str) -> "Length":
        """The length that `text` says."""
        text, _, batches = text.partition("/")
        text, _, rate = text.partition("@")
        steps, texts = map(int, text.split("x"))
        return cls(steps, texts, float(rate or 1), int(batches or steps))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this, `scales` is of this length."""
        from osd_edge.exporters.methods.osd_rd import compress, mixtures, refine

        def texts(examples: Sequence[Example], _: int, seed: int, *, mixed: bool) -> list[Example]:
            count = self.batches * self.texts
            return mixtures.training_texts(examples, count, seed, mixed=mixed)

        how = refine.Refinement(self.steps, codes=False, texts=self.texts)
        with ExitStack() as changes:
            changes.enter_context(patch.dict(refine.REFINEMENTS, scales=how))
            # As many steps as were asked for, however short the texts.
            changes.enter_context(patch.object(compress, "_STEP_TOKENS", 0))
            changes.enter_context(patch.object(compress, "training_texts", texts))
            for name in _RATES:
                usual = getattr(refine, name)
                changes.enter_context(patch.object(refine, name, usual * self.rate))
            yield


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--shared", type=click.Path(path_type=Path), default=Path("../shared"))
@click.option("--task", default="mr", show_default=True)
@click.option("--rows", default=512, show_default=True, help="Calibration rows that tune.")
@click.option("--held", default=300, show_default=True, help="Rows that score.")
@click.option("--joined", default=1, show_default=True, help="Texts that are joined to a row.")
@click.option("--budget", default="16KiB", show_default=True)
@click.option(
    "--length", "lengths", multiple=True, default=LENGTHS, help="STEPSxTEXTS@RATE/BATCHES"
)
def main(
    shared: Path,
    task: str,
    rows: int,
    held: int,
    joined: int,
    budget: str,
    lengths: tuple[str, ...],
) -> None:
    """Print a line of JSON for each length, and first one for `none`."""
    from osd_edge.exporters.demo.minilm import minilm_folder
    from osd_edge.exporters.methods.budget import parse_budget
    from osd_edge.exporters.methods.osd_rd.bundles import RateDistortionBundles, Wanted
    from osd_edge.exporters.quiet import quiet_libraries
    from osd_edge.exporters.scoring.calibrated_task import calibrated
    from osd_edge.exporters.task import TaskExporter

    quiet_libraries()
    examples = read_examples(shared / "data" / task / "train.tsv")
    wanted = (rows + held) * joined
    chosen = list(joins(examples[:: max(1, len(examples) // wanted)][:wanted], joined))
    scored, tuning = chosen[:held], chosen[held:]
    exporter = TaskExporter(minilm_folder(), shared / "checkpoints" / task, calibration=tuning)
    source = exporter.source
    score = calibrated(source.models, scored, model=source.model).score
    bundles = source.shared(RateDistortionBundles, 0)
    for length in ("none", *lengths):
        begun = time.process_time()
        if length == "none":
            made = bundles.within(Wanted("t", "none"), parse_budget(budget))
        else:
            with Length.parse(length).applied():
                made = bundles.within(Wanted("t", "scales"), parse_budget(budget))
        found = score(made.bundle.sites, made.bundle.head)
        line = {"task": task, "joined": joined, "budget": budget, "length": length}
        line |= {"nats": round(found.loss, 4), "agreement": round(found.accuracy, 4)}
        print(json.dumps(line | {"cpu_s": round(time.process_time() - begun)}), flush=True)


def joins(examples: Sequence[Example], count: int) -> Iterator[Example]:
    """Rows of `count` texts each, without labels."""
    for start in range(0, len(examples) - count + 1, count):
        yield Example(" ".join(example.text for example in examples[start : start + count]))


if __name__ == "__main__":
    sys.exit(main())
