"""A task that generates text, of our own words, with a LoRA for it: what comparisons measure.

`python -m benchmarks.language_tasks --base DIR -o OUT`. The sentences of the test are made from
templates that training and calibration do not have. Every word is ours; the tasks are those of
`osd-edge demo --generate`, with more rows and steps.
"""

import json
from pathlib import Path

import click

from benchmarks.training_state import KeptTrainer
from osd_edge.cli.bars import bar
from osd_edge.data.files import make_folder, write_file
from osd_edge.exporters.demo.writing.tasks import WRITING_TASKS, json_lines
from osd_edge.exporters.demo.writing.train import LoraTraining
from osd_edge.exporters.demo.writing.wishes import make_wishes
from osd_edge.exporters.quiet import quiet_libraries

TASKS = {task.name: task for task in WRITING_TASKS}
_COUNT = click.IntRange(1)


@click.command()
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="A decoder, in Hugging Face format, that knows ChatML.",
)
@click.option("--task", type=click.Choice(list(TASKS)), default="german", show_default=True)
@click.option("--train", type=_COUNT, default=3600, show_default=True, help="Rows.")
@click.option("--calibration", type=_COUNT, default=240, show_default=True, help="Rows.")
@click.option("--test", type=_COUNT, default=600, show_default=True, help="Rows.")
@click.option("--steps", type=_COUNT, default=450, show_default=True, help="Of 8 rows each.")
@click.option("--rank", type=_COUNT, default=8, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR")
def main(
    base: Path,
    task: str,
    train: int,
    calibration: int,
    test: int,
    steps: int,
    rank: int,
    seed: int,
    out: Path,
) -> None:
    """Write train, calibration and test rows to DIR/TASK, and train a LoRA to DIR/TASK/lora.

    A training that is broken off goes on with the same command.
    """
    quiet_libraries()
    folder = out / task
    make_folder(folder)
    wishes = make_wishes(train, calibration, test, seed)
    for name in ("train", "calibration", "test"):
        rows = TASKS[task].rows(getattr(wishes, name))
        write_file(folder / f"{name}.jsonl", json_lines(rows))
    training = LoraTraining(seed=seed, rank=rank, alpha=2.0 * rank, steps=steps)
    lora, rows = folder / "lora", TASKS[task].rows(wishes.train)
    kept = folder / "training.safetensors"
    losses = KeptTrainer(base).train_kept(rows, lora, training, kept, bar)
    write_file(folder / "losses.json", json.dumps([round(one, 5) for one in losses]).encode())
    last = losses[-steps // 10 :]
    click.echo(f"{lora}: {steps} steps, {sum(last) / len(last):.4f} nats a token in the last ones")


if __name__ == "__main__":
    main()
