"""Puts what `osd-edge compare` measured of tasks that generate text into docs/results.md.

Comparisons of part of the settings do: what is left is said on the page.
"""

import json
from pathlib import Path

import click

from benchmarks.language_page import chapter, outcome_of, with_chapter
from osd_edge.cli.compare import as_csv
from osd_edge.cli.plot import plot_outcomes
from osd_edge.data.files import write_file

_PATH = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option(
    "--outcome",
    "files",
    type=_PATH,
    multiple=True,
    required=True,
    metavar="FILE",
    help="A comparison.json, one a task, in the order of the page; may be repeated.",
)
@click.option("--report", type=_PATH, required=True, help="The page with the results.")
def main(files: tuple[Path, ...], report: Path) -> None:
    """Write the chapter of REPORT anew, its picture and its CSV beside it."""
    outcomes = [outcome_of(json.loads(file.read_text("utf-8"))) for file in files]
    picture = report.with_name(f"{report.stem}-text.png")
    plot_outcomes(outcomes, picture)
    write_file(picture.with_suffix(".csv"), as_csv(outcomes).encode())
    page = with_chapter(report.read_text("utf-8"), chapter(outcomes, picture.name))
    write_file(report, page.encode())
    left = sum(len(outcome.left) for outcome in outcomes)
    click.echo(f"{report}: {len(outcomes)} tasks" + (f", {left} points missing" if left else ""))


if __name__ == "__main__":
    main()
