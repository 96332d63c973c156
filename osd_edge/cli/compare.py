"""`osd-edge compare`: accuracy against real bytes, for many methods at many budgets."""

import contextlib
import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osd_edge.cli.bars import bar
from osd_edge.cli.options import MODEL, SEED, FiniteRange, example, json_option, weighted
from osd_edge.cli.output import percent, print_json, table
from osd_edge.errors import OsdEdgeError
from osd_edge.signals import Ended

if TYPE_CHECKING:
    from osd_edge.exporters.compare.comparison import Outcome

_PATH = click.Path(path_type=Path)
_HEADER = ("method", "budget", "bytes", "accuracy %", "of fine-tuned %", "gain kept %")

_WRITTEN_HEADER = (
    *("method", "budget", "bytes", "exact %", "nats a token"),
    *("same next %", "gain kept %", "in nats %"),
)
_SHOWN_LEFT = 8

_COLUMNS = (
    *("task", "method", "budget", "bytes", "accuracy", "gain_kept", "fine_tuned"),
    *("frozen_probe", "compress_cpu_seconds", "seed", "refused"),
    *("loss", "loss_error", "next_same", "gain_in_nats", "zero_delta"),
)


@click.command(
    epilog=example(
        "osd-edge compare --base path/to/base --tuned path/to/classifier \\",
        "    --calibration calibration.tsv --test test.tsv -o comparison",
        "osd-edge compare --base path/to/base --adapter path/to/lora \\",
        "    --calibration calibration.jsonl --test test.jsonl --minutes 60 -o comparison",
    )
)
@click.option(
    "--base", type=MODEL, required=True, metavar="MODEL", help="The base: folder or hub id."
)
@click.option(
    "--tuned",
    type=MODEL,
    metavar="MODEL",
    help="The fine-tuned classifier, or language model.",
)
@click.option(
    "--adapter",
    "adapters",
    type=MODEL,
    multiple=True,
    metavar="DIR[:WEIGHT]",
    help="In the place of --tuned: a LoRA in PEFT's format; may be repeated.",
)
@click.option(
    "--labels", metavar="A,B,…", help="Names of an adapter's labels, in the order of its outputs."
)
@click.option(
    "--calibration",
    type=_PATH,
    required=True,
    metavar="FILE",
    help="What methods may look at: .tsv (label<TAB>text) or .txt (a sentence a line); of a task "
    "that generates text .jsonl of prompts with completions, or of messages.",
)
@click.option(
    "--test",
    type=_PATH,
    required=True,
    metavar="FILE",
    help="Labelled .tsv, used for the accuracies alone; of text .jsonl with completions.",
)
@click.option(
    "--budgets",
    default="4KiB,8KiB,16KiB,32KiB,64KiB,r=1,r=2",
    show_default=True,
    metavar="LIST",
    help="64KiB: the whole file. r=1: bytes of fp32 rank-1 factors, head on top.",
)
@click.option(
    "--methods",
    default="all",
    show_default=True,
    metavar="LIST",
    help="Names with commas between; a wrong one is answered with the list. all: those that make "
    "sense for the task.",
)
@click.option(
    "--only",
    metavar="LIST",
    help="Compute these now, METHOD or METHOD@BUDGET, in this order; what is there is shown too.",
)
@click.option(
    "--minutes",
    type=FiniteRange(0),
    metavar="N",
    help="Begin nothing after N minutes. The same command goes on with what is left.",
)
@click.option(
    "--probe",
    type=FiniteRange(0, 1),
    metavar="ACC",
    help="Test accuracy of a frozen probe, 0 to 1, where you know it.",
)
@click.option(
    "--probe-train",
    type=_PATH,
    metavar="FILE",
    help="Labelled .tsv to train the frozen probe on. Default: the calibration set. The probe is "
    "the floor that a delta has to beat, and a probe from few rows is a low one: give it all the "
    "rows that the model was fine-tuned on.",
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Of what methods draw: rows held back, vectors, controls. Most of them draw nothing.",
)
@click.option("-o", "--out", type=_PATH, required=True, metavar="DIR")
@json_option
def compare(
    base: str,
    tuned: str | None,
    adapters: tuple[str, ...],
    labels: str | None,
    calibration: Path,
    test: Path,
    budgets: str,
    methods: str,
    only: str | None,
    minutes: float | None,
    probe: float | None,
    probe_train: Path | None,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Compare methods on one task, at their real bytes, with the bounds beside them.

    DIR gets comparison.csv, comparison.png and comparison.json, every compressed file, and a
    small file for each result: after an interruption, or after --minutes, the same command goes on
    where it stopped. Of a part of the settings, DIR shows what is there.
    """
    if (tuned is None) == (not adapters):
        raise click.UsageError("Give --tuned MODEL, or --adapter DIR: one of the two.")
    import matplotlib  # noqa: F401  (missing, it should be missed now and not at the end)

    from osd_edge.cli.plot import plot_outcomes
    from osd_edge.data.examples import read_examples
    from osd_edge.data.files import kind_at, make_folder, write_file
    from osd_edge.exporters.compare.comparison import ComparisonPart, MethodComparison, grid
    from osd_edge.exporters.compare.comparison import compare as run
    from osd_edge.exporters.methods.registry import compared
    from osd_edge.exporters.quiet import quiet_libraries
    from osd_edge.formats.limits import task_name

    quiet_libraries()
    settings = grid(tuple(compared()) if methods == "all" else _listed(methods), _listed(budgets))
    job = MethodComparison(
        base=base,
        tuned=tuned,
        calibration=read_examples(calibration),
        test=read_examples(test),
        settings=settings,
        task=task_name(plain_name(tuned or weighted(adapters[0])[0])),
        seed=seed,
        probe=probe,
        probe_train=() if probe_train is None else read_examples(probe_train),
        adapters=[weighted(adapter) for adapter in adapters],
        labels=None if labels is None else _listed(labels),
        suited_only=methods == "all",
    )
    part = ComparisonPart(() if only is None else _listed(only), minutes)
    kept = (out,) if kind_at(out) == "folder" else ()
    make_folder(out)
    try:
        outcome = run(job, out, bar, part)
    except OsdEdgeError:
        for folder in (out / "cells", out):
            with contextlib.suppress(OSError):  # what is not empty stays
                if folder not in kept:
                    folder.rmdir()
        raise
    except (KeyboardInterrupt, Ended):
        click.echo("\nosd-edge: the same command goes on from here", err=True)
        raise
    write_file(out / "comparison.csv", as_csv([outcome]).encode())
    text = json.dumps(outcome.as_dict(), indent=1) + "\n"
    write_file(out / "comparison.json", text.encode())
    plot_outcomes([outcome], out / "comparison.png")
    if as_json:
        print_json(outcome.as_dict())
        return
    click.echo(describe(outcome))
    click.echo()
    click.echo(
        f"{out / 'comparison'}.csv, .png and .json; the files measured are in {out / 'files'}"
    )


def plain_name(model: str) -> str:
    """The last part of a model's path or hub id, as far as it may name a task."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).name).strip("-._")[:40] or "task"


def describe(outcome: "Outcome") -> str:
    """The tables for people."""
    lines = [
        f"{outcome.task}: {_of_what(outcome)}{outcome.test_examples} test rows, "
        f"{outcome.calibration_examples} calibration rows, seed {outcome.seed}",
        "",
        _written_table(outcome) if outcome.writes else _labelled_table(outcome),
    ]
    reasons = [f"no frozen probe: {outcome.no_probe}"] if outcome.no_probe else []
    reasons += [
        f"{p.method} at {p.budget or 'its own'}: {p.refused}" for p in outcome.points if p.refused
    ]
    if outcome.shared_rows:
        reasons.append(f"{outcome.shared_rows} calibration rows are in the test set too")
    if outcome.floor is not None and outcome.gain(1.0) is None:
        over = "base" if outcome.writes else "probe"
        reasons.append(f"fine-tuning gains less than 2 points over the {over}: no shares of it")
    if outcome.left:
        reasons.append(_left(outcome))
    return "\n".join([*lines, "", *reasons] if reasons else lines)


def _of_what(outcome: "Outcome") -> str:
    return "text, " if outcome.writes else f"{outcome.labels} labels, "


def _labelled_table(outcome: "Outcome") -> str:
    rows: list[tuple[str, ...]] = [
        _row(outcome, "full fine-tuning", "", outcome.fp32_bytes, outcome.fine_tuned),
        _row(outcome, "its linear layers", "", None, outcome.linear_only),
        _row(outcome, "frozen probe", "", None, outcome.frozen_probe),
        _row(outcome, "head, zero delta", "", None, outcome.zero_delta),
    ]
    for point in outcome.points:
        rows.append(
            _row(outcome, point.method, point.budget or "its own", point.size, point.accuracy)
        )
    return table(_HEADER, rows)


def _written_table(outcome: "Outcome") -> str:
    """Rows written exactly and nats a token, each with its standard error after ±."""
    bounds = {
        "fine-tuned, fp32": ("fine_tuned", outcome.fp32_bytes),
        "its linear layers": ("linear_only", None),
        "base alone": ("zero_delta", None),
    }
    listed: list[tuple[str, str, int | None, Any]] = [
        (name, "", size, outcome.scores[bound]) for name, (bound, size) in bounds.items()
    ]
    listed += [(p.method, p.budget or "its own", p.size, p) for p in outcome.points]
    return table(_WRITTEN_HEADER, [_written_row(outcome, *one) for one in listed])


def _written_row(
    outcome: "Outcome", what: str, budget: str, size: int | None, score: Any
) -> tuple[str, ...]:
    shown = "–" if size is None else f"{size:,}"
    if score.accuracy is None:
        return what, budget, shown, *("–",) * 5
    return (
        *(what, budget, shown),
        f"{percent(score.accuracy)} ± {percent(outcome.error(score.accuracy))}",
        f"{score.loss:.4f} ± {score.loss_error:.4f}",
        *map(share, (score.next_same, outcome.gain(score.accuracy))),
        share(outcome.gain_in_nats(score.loss)),
    )


def _left(outcome: "Outcome") -> str:
    """The line that says what is not computed yet."""
    named = ["@".join(part for part in setting if part) for setting in outcome.left]
    more = f" and {len(named) - _SHOWN_LEFT} more" if len(named) > _SHOWN_LEFT else ""
    return (
        f"{len(named)} of {len(named) + len(outcome.points)} settings are left "
        f"({', '.join(named[:_SHOWN_LEFT])}{more}): the same command goes on with them"
    )


def as_csv(outcomes: "Sequence[Outcome]") -> str:
    """A row for each point; accuracies and shares 0 to 1, empty where there is none."""
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for outcome in outcomes:
        for p in outcome.points:
            gain = outcome.gain(p.accuracy)
            shares = (p.accuracy, gain, outcome.fine_tuned, outcome.frozen_probe)
            rows.writerow(
                (
                    *(outcome.task, p.method, p.budget, p.size, *map(_short, shares)),
                    *(p.seconds, outcome.seed, p.refused),
                    *map(_short, (p.loss, p.loss_error, p.next_same)),
                    *map(_short, (outcome.gain_in_nats(p.loss), outcome.zero_delta)),
                )
            )
    return buffer.getvalue()


def share(value: float | None) -> str:
    """A share 0 to 1 in percent, a dash for none."""
    return "–" if value is None else percent(value)


def _row(
    outcome: "Outcome", what: str, budget: str, size: int | None, accuracy: float | None
) -> tuple[str, ...]:
    tuned = outcome.fine_tuned  # 0 where not one test row is right: there are no shares of it
    of_tuned = None if accuracy is None or not tuned else accuracy / tuned
    shown = "–" if size is None else f"{size:,}"
    return what, budget, shown, share(accuracy), share(of_tuned), share(outcome.gain(accuracy))


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))
