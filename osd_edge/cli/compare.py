"""`osd-edge compare`: accuracy against real bytes, for many methods at many budgets."""

import contextlib
import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osd_edge.cli.options import MODEL, SEED, FiniteRange, example, json_option
from osd_edge.cli.output import bar, percent, print_json, table
from osd_edge.errors import OsdEdgeError
from osd_edge.signals import Ended

if TYPE_CHECKING:
    from osd_edge.exporters.compare.comparison import Outcome

_PATH = click.Path(path_type=Path)
_HEADER = ("method", "budget", "bytes", "accuracy %", "of fine-tuned %", "gain kept %")

_COLUMNS = (
    *("task", "method", "budget", "bytes", "accuracy", "gain_kept", "fine_tuned"),
    *("frozen_probe", "compress_cpu_seconds", "seed", "refused"),
)


@click.command(
    epilog=example(
        "osd-edge compare --base path/to/base --tuned path/to/classifier \\",
        "    --calibration calibration.tsv --test test.tsv -o comparison",
    )
)
@click.option(
    "--base", type=MODEL, required=True, metavar="MODEL", help="The base: folder or hub id."
)
@click.option(
    "--tuned", type=MODEL, required=True, metavar="MODEL", help="The fine-tuned classifier."
)
@click.option(
    "--calibration",
    type=_PATH,
    required=True,
    metavar="FILE",
    help="What methods may look at: .tsv (label<TAB>text) or .txt (a sentence a line).",
)
@click.option(
    "--test",
    type=_PATH,
    required=True,
    metavar="FILE",
    help="Labelled .tsv, used for the accuracies alone.",
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
    help="Names with commas between; a wrong one is answered with the list.",
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
    tuned: str,
    calibration: Path,
    test: Path,
    budgets: str,
    methods: str,
    probe: float | None,
    probe_train: Path | None,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Compare methods on one task, at their real bytes, with the bounds beside them.

    DIR gets comparison.csv, comparison.png and comparison.json, every compressed file, and a
    small file for each result: after an interruption the same command goes on where it stopped.
    """
    import matplotlib  # noqa: F401  (missing, it should be missed now and not at the end)

    from osd_edge.cli.plot import plot_outcomes
    from osd_edge.data.examples import read_examples
    from osd_edge.data.files import kind_at, make_folder, write_file
    from osd_edge.exporters.compare.comparison import MethodComparison, grid
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
        task=task_name(plain_name(tuned)),
        seed=seed,
        probe=probe,
        probe_train=() if probe_train is None else read_examples(probe_train),
    )
    kept = (out,) if kind_at(out) == "folder" else ()
    make_folder(out)
    try:
        outcome = run(job, out, bar)
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
    probe = outcome.frozen_probe
    rows: list[tuple[str, ...]] = [
        _row(outcome, "full fine-tuning", "", outcome.fp32_bytes, outcome.fine_tuned),
        _row(outcome, "its linear layers", "", None, outcome.linear_only),
        _row(outcome, "frozen probe", "", None, probe),
        _row(outcome, "head, zero delta", "", None, outcome.zero_delta),
    ]
    for point in outcome.points:
        rows.append(
            _row(outcome, point.method, point.budget or "its own", point.size, point.accuracy)
        )
    lines = [
        f"{outcome.task}: {outcome.labels} labels, {outcome.test_examples} test rows, "
        f"{outcome.calibration_examples} calibration rows, seed {outcome.seed}",
        "",
        table(_HEADER, rows),
    ]
    reasons = [f"no frozen probe: {outcome.no_probe}"] if outcome.no_probe else []
    reasons += [
        f"{p.method} at {p.budget or 'its own'}: {p.refused}" for p in outcome.points if p.refused
    ]
    if outcome.shared_rows:
        reasons.append(f"{outcome.shared_rows} calibration rows are in the test set too")
    if probe is not None and outcome.gain(1.0) is None:
        reasons.append("full fine-tuning gains less than 2 points over the probe: no shares of it")
    return "\n".join([*lines, "", *reasons] if reasons else lines)


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
