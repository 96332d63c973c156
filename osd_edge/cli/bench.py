"""The command `osd-edge bench`: measures what tasks cost on this device or another."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from osd_edge.cli.bars import bar
from osd_edge.cli.options import FiniteRange, example
from osd_edge.cli.output import table
from osd_edge.device_tests import (
    Change,
    Comparison,
    Plan,
    Report,
    compare,
    open_device,
    read_report,
)
from osd_edge.device_tests.plan import OPTIONS, Option, plan_of
from osd_edge.formats.named_bundle import named_bundle
from osd_edge.signals import Ended

_STDOUT = Path("-")
_OUTPUTS = ("--json", "--csv", "--markdown", "--html", "--llama-bench")  # the first one may be -
_WITHOUT_MEASURING = (*_OUTPUTS, "--from", "--compare", "--fail-on-change")


def _file(name: str, words: str, **options: Any) -> Callable[..., Any]:
    kind = click.Path(path_type=Path, allow_dash=name == "--json")
    held = f"{name[2:].replace('-', '_')}_file"
    return click.option(name, held, type=kind, metavar="FILE", help=words, **options)


def _plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each field of a plan, `--device` after those that say what to measure."""
    asked = [option for option in OPTIONS if option.role != "driver"]
    device = click.option(
        "--device", default="local", show_default=True, metavar="NAME", help="Where to measure."
    )
    listed = [_plan_option(option) for option in asked if option.role == "subject"]
    listed += [device, *(_plan_option(option) for option in asked if option.role != "subject")]
    for add in reversed(listed):
        command = add(command)
    return command


def _plan_option(option: Option) -> Callable[..., Any]:
    kinds: dict[str, Any] = {
        "whole": click.IntRange(option.least, option.most_typed),
        "number": FiniteRange(option.least, option.most_typed),
        "path": click.Path(path_type=Path),
    }
    return click.option(
        option.flag,
        option.name,
        type=kinds.get(option.kind, str),
        multiple=option.repeated,
        default=option.unset,
        show_default=option.is_number,
        metavar=option.metavar,
        help=option.help,
    )


@click.command(
    epilog=example("osd-edge bench --base minilm --bundle mr.osd.safetensors --html report.html")
)
@_plan_options
@click.option("--quick", is_flag=True, help="Few runs: shows that all works; times say little.")
@_file("--json", "Write the report as JSON, again after each scenario; - is standard output.")
@_file("--csv", "Write a line for each figure.")
@_file("--markdown", "Write the tables as Markdown.")
@_file("--html", "Write one page with plots that needs nothing else.")
@_file("--llama-bench", "Write JSON lines as llama-bench does, of the text that was generated.")
@_file("--from", "Measure nothing: take this report (JSON).")
@_file("--compare", "Tell what changed beyond noise since this report (JSON).")
@click.option("--fail-on-change", is_flag=True, help="With --compare: exit with 1 on a change.")
def bench(
    device: str,
    quick: bool,
    json_file: Path | None,
    csv_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
    llama_bench_file: Path | None,
    from_file: Path | None,
    compare_file: Path | None,
    fail_on_change: bool,
    **settings: Any,
) -> None:
    """Measure latency, swaps and memory of task bundles over a base package.

    Checks first that the device decodes and computes as it should. Exit code 1 where it does
    not, where a scenario fails, or (with --fail-on-change) where a figure changed beyond noise.
    """
    from osd_edge.data.files import check_file_writable, check_outputs, write_file
    from osd_edge.device_tests import to_csv, to_html, to_llama_bench, to_markdown
    from osd_edge.device_tests.report.printable import printable

    writers = (
        (csv_file, to_csv),
        (markdown_file, to_markdown),
        (html_file, to_html),
        (llama_bench_file, to_llama_bench),
    )
    given = _given()
    _check_options(given, device, measures=from_file is None)
    outputs = dict(zip(_OUTPUTS[1:], (path for path, _ in writers), strict=True))
    if _STDOUT in outputs.values():
        raise click.UsageError("only --json writes to standard output")
    if json_file != _STDOUT:
        outputs["--json"] = json_file
    bundles = [named_bundle(given).path for given in settings["bundles"]]
    check_outputs(outputs, [settings["base"], *bundles, from_file, compare_file])
    for path in outputs.values():
        if path is not None:
            check_file_writable(path)
    old = None if compare_file is None else read_report(compare_file)
    if from_file is not None:
        report = read_report(from_file)
    else:
        plan = plan_of(settings)
        if quick:  # of what was not asked for otherwise
            asked = {name: getattr(plan, name) for name in settings if name in given}
            plan = replace(plan.quick(), **asked)
        report = _measure(plan, device, json_file)
    if json_file is not None:
        _write_json(json_file, report)
    for path, write in writers:
        if path is not None:
            write_file(path, write(report).encode())
            click.echo(f"{path}: the report", err=json_file == _STDOUT)
    comparison = None if old is None else compare(old, report)
    if json_file is None:
        click.echo(describe(report))
    if comparison is not None:
        click.echo(describe_comparison(comparison), err=json_file == _STDOUT)
    if json_file is not None:
        click.echo(printable(report["verdict"]["line"]), err=json_file == _STDOUT)
    changed = comparison is not None and bool(comparison.changes) and fail_on_change
    if report["verdict"]["status"] != "passed" or changed:
        sys.exit(1)


def _given() -> dict[str, str]:
    """Returns the options that the command line has, by the names of their values."""
    context = click.get_current_context()
    return {
        str(parameter.name): parameter.opts[0]
        for parameter in context.command.params
        if context.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT
    }


def _check_options(given: Mapping[str, str], device: str, *, measures: bool) -> None:
    """Refuses options that would be given in vain."""
    vain = [option for option in given.values() if option not in _WITHOUT_MEASURING]
    if not measures and vain:
        raise click.UsageError(f"--from measures nothing: leave out {', '.join(vain)}")
    if device != "local" and "scratch" in given:
        raise click.UsageError("--scratch is of this machine: elsewhere the run's folder serves")
    if "fail_on_change" in given and "compare_file" not in given:
        raise click.UsageError("--fail-on-change goes with --compare")


def _measure(plan: Plan, device: str, json_file: Path | None) -> Report:
    """Measures; whatever stops it, the file holds what there was by then."""

    def keep(report: Report) -> None:
        if json_file is not None and json_file != _STDOUT:
            _write_json(json_file, report)

    try:
        return open_device(device).run(plan, bar, keep)
    except (KeyboardInterrupt, Ended):
        if json_file is not None and json_file != _STDOUT:
            click.echo(f"{json_file}: the results until it was broken off", err=True)
        raise


def _write_json(path: Path, report: Report) -> None:
    from osd_edge.data.files import write_file

    text = json.dumps(report, indent=1)
    if path == _STDOUT:
        click.echo(text)
    else:
        write_file(path, (text + "\n").encode())


def describe(report: Report) -> str:
    """Words the report as tables for a terminal, the verdict last."""
    from osd_edge.device_tests import facts_of, tables_of
    from osd_edge.device_tests.report.printable import printable

    lines = [f"{name:9} {value}" for name, value in facts_of(report)]
    for part in tables_of(report):
        lines += ["", part.title, table(part.header, part.rows)]
        lines += [part.note] if part.note else []
    return printable("\n".join([*lines, "", report["verdict"]["line"]]))


def describe_comparison(comparison: Comparison) -> str:
    """Words changes beyond noise as a table, or says that there are none."""
    from osd_edge.device_tests.report.printable import printable

    lines = [f"unlike: {printable(note)}" for note in comparison.notes]
    count = len(comparison.changes)
    lines.append(f"{count} of {comparison.compared} figures changed beyond noise")
    if comparison.changes:
        header = ("", "old", "new", "change", "noise", "")
        lines.append(table(header, [_change(change) for change in comparison.changes]))
    return "\n".join(lines)


def _change(change: Change) -> tuple[str, ...]:
    from osd_edge.device_tests.render.figures import format_value

    def words(value: float) -> str:
        return format_value(change.figure, value)

    share = f"{100 * (change.new / change.old - 1):+.1f} %" if change.old else "new"
    return (
        f"{change.where}: {change.figure}",
        words(change.old),
        words(change.new),
        share,
        f"±{words(change.noise)}",
        "better" if change.better else "WORSE",
    )
