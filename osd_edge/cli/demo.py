"""`osd-edge demo`: the main job from end to end, on generated tasks or on the user's models."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osd_edge.cli.bars import bar
from osd_edge.cli.compare import share
from osd_edge.cli.options import MODEL, SEED, example, json_option
from osd_edge.cli.output import percent, print_json, table
from osd_edge.data.sizes import format_size
from osd_edge.errors import Code, InputError, OutputError
from osd_edge.exporters.methods.budget import VALUE_BITS, parse_budget

if TYPE_CHECKING:
    from osd_edge.exporters.compare.comparison import MethodComparison, Outcome, Point
    from osd_edge.runtime import EdgeSession

_SMALL, _LARGE = ("16KiB", "48KiB"), ("160KiB",)  # budgets of osd-rd, and of the paper's methods
_CACHE_BYTES = 2**30  # every bundle of the demo stays decoded, so that swaps can be timed
_SWAPS = 10
_FILES = ("results.json", "results.txt", "accuracy.png")
_FOLDERS = ("bundles", "data", "tuned")
_SHOWN = 3  # test sentences that are shown as they go through each task


@click.command(epilog=example("osd-edge demo -o demo-out", "osd-edge demo --generate"))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Default: demo-out, with --generate demo-generate-out.",
)
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier demo in DIR.")
@click.option(
    "--generate", is_flag=True, help="Tasks that write text, over a language model that is fetched."
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="BUDGET",
    help="For every method; may be repeated. Default: 16KiB and 48KiB for osd-rd, else 160KiB; "
    "with --generate one, 256KiB.",
)
@click.option(
    "--values",
    type=click.Choice(tuple(VALUE_BITS)),
    default="int8",
    show_default=True,
    help="Of the paper's methods.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--base", type=MODEL, metavar="MODEL", help="Your own base, in place of the demo's.")
@click.option(
    "--tuned", type=MODEL, multiple=True, metavar="MODEL", help="Your own classifier; repeat."
)
@click.option(
    "--calibration",
    "calibrations",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labelled .tsv for each --tuned, in the same order.",
)
@click.option(
    "--test",
    "tests",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labelled .tsv for each --tuned, in the same order.",
)
@json_option
def demo(
    out: Path | None,
    overwrite: bool,
    generate: bool,
    budgets: tuple[str, ...],
    values: str,
    seed: int,
    base: str | None,
    tuned: tuple[str, ...],
    calibrations: tuple[Path, ...],
    tests: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Fine-tune, compress and swap: three tasks over one base, with every figure computed now.

    Without --base and --tuned it fine-tunes all-MiniLM-L6-v2 on three tasks whose sentences it
    makes itself. With them it compresses and swaps your own models; the frozen probe then
    learns from the calibration set.

    With --generate it trains LoRAs of three tasks that write, compresses them, and has one session
    answer one sentence in three ways: half an hour, and a model that is fetched, of which it
    speaks first. What is finished is kept in DIR, and taken up by the next run.
    """
    for budget in budgets:
        parse_budget(budget)
    if generate:
        _generate(out, budgets)
        return
    out = Path("demo-out") if out is None else out
    from osd_edge.cli.plot import plot_outcomes
    from osd_edge.data.files import check_folder_free, locked_output, make_folder, write_file
    from osd_edge.exporters import export_base
    from osd_edge.exporters.compare.comparison import grid
    from osd_edge.exporters.methods.registry import METHODS, bundle_name
    from osd_edge.exporters.models.checkpoint import find_model
    from osd_edge.exporters.quiet import quiet_libraries
    from osd_edge.runtime import EdgeSession

    quiet_libraries()
    small, large = (budgets, budgets) if budgets else (_SMALL, _LARGE)
    if (base is None) != (not tuned) or (base is None and (calibrations or tests)):
        raise InputError(Code.INPUT_MODELS, "--base, --tuned, --calibration and --test go together")
    package, bundles = out / "base", out / "bundles"
    check_folder_free(package, overwrite=overwrite)
    if not overwrite:
        _check_free(out)
    own = None
    if base is not None:
        folder = find_model(base)
        own = _own_tasks(folder, tuned, calibrations, tests)
    make_folder(bundles)
    scratch = click.get_current_context().with_resource(locked_output(out / "demo"))
    if own is not None:
        tasks = own
    else:
        folder, tasks = _generated_tasks(out, seed)
    paper = [name for name, entry in METHODS.items() if "values" in entry.takes]
    methods = tuple(bundle_name(method, values) for method in paper)
    settings = grid(("osd-rd",), small) + grid(methods, large)
    tasks = [replace(task, settings=settings, seed=seed) for task in tasks]
    click.echo(f"Base package in {package}", err=True)
    export_base(folder, package, overwrite=overwrite, progress=bar)
    session = EdgeSession(package, cache_bytes=_CACHE_BYTES)
    results = []
    for task in bar(tasks, f"Tasks, {len(settings)} bundles each"):
        results.append(_compared(task, bundles, scratch))
    costs = _swap_and_latency(session, results, bundles, tasks[0].test[0].text)
    document = {
        "base": str(folder),
        "tasks": [result.as_dict() for result in results],
        "swaps": [asdict(cost) for cost in costs],
    }
    write_file(out / "results.json", (json.dumps(document, indent=1) + "\n").encode())
    plot_outcomes(results, out / "accuracy.png")
    report = _report(session, tasks, results, costs)
    write_file(out / "results.txt", (report + "\n").encode())
    if as_json:
        print_json(document)
        return
    click.echo()
    click.echo(report)
    click.echo()
    click.echo(f"base model    {folder}")
    click.echo(f"base package  {package}")
    click.echo(f"task bundles  {bundles}")
    click.echo(f"picture       {out / 'accuracy.png'}")
    click.echo(f"figures       {out / 'results.json'}, {out / 'results.txt'}")


def _generate(out: Path | None, budgets: Sequence[str]) -> None:
    """Plays the demonstration of tasks that write. Raises InputError `input.options`."""
    from osd_edge.cli.demo_generate import BUDGET, OUT, WritingChoice, demo_generate
    from osd_edge.exporters.quiet import quiet_libraries

    given = click.get_current_context().params
    vain = [name for name in ("tuned", "calibrations", "tests") if given[name]]
    if vain or given["values"] != "int8" or len(budgets) > 1:
        raise InputError(
            Code.INPUT_OPTIONS,
            "--generate takes one --budget at most, and neither --values nor --tuned, "
            "--calibration or --test",
        )
    quiet_libraries()
    demo_generate(
        WritingChoice(
            out=OUT if out is None else out,
            overwrite=given["overwrite"],
            base=given["base"],
            budget=budgets[0] if budgets else BUDGET,
            seed=given["seed"],
            as_json=given["as_json"],
        )
    )


def _check_free(out: Path) -> None:
    """Refuse (`output.exists`) a folder with anything that a demo would replace."""
    taken = [out / name for name in _FILES if (out / name).exists()]
    for folder in (out / name for name in _FOLDERS):
        taken += [folder] if folder.is_dir() and any(folder.iterdir()) else []
    if taken:
        raise OutputError(
            Code.OUTPUT_EXISTS,
            f"{taken[0]} is there already: name another folder with -o, or use --overwrite to "
            "replace an earlier demo",
        )


def _compared(task: "MethodComparison", bundles: Path, scratch: Path) -> "Outcome":
    """The comparison of one task, made anew; its bundles are kept in `bundles`."""
    from osd_edge.data.files import write_file
    from osd_edge.exporters.compare.comparison import compare

    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        outcome = compare(task, Path(folder), bar)
        points = []
        for point in outcome.points:
            if point.refused is not None:
                points.append(point)
                continue
            (file,) = point.files
            size = "".join(c for c in point.budget or "" if c not in "= ")
            name = f"{outcome.task}-{point.method}-{size}.osd.safetensors"
            write_file(bundles / name, (Path(folder) / file).read_bytes())
            points.append(replace(point, files=(name,)))
    return replace(outcome, points=tuple(points))


def _generated_tasks(out: Path, seed: int) -> "tuple[Path, list[MethodComparison]]":
    """The base in the demo package, and three models fine-tuned from it now."""
    from osd_edge.data.examples import write_tsv
    from osd_edge.exporters.compare.comparison import MethodComparison
    from osd_edge.exporters.demo.finetune import Training, finetune
    from osd_edge.exporters.demo.minilm import minilm_folder
    from osd_edge.exporters.demo.tasks import demo_tasks, generate
    from osd_edge.exporters.scoring.frozen_probe import frozen_probe_accuracy

    base = minilm_folder()
    tasks = []
    for task in demo_tasks():
        data = generate(task, seed)
        folder = out / "data" / task.name
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("train", "calibration", "test"):
            write_tsv(getattr(data, part), folder / f"{part}.tsv")
        tuned = finetune(
            base, task.labels, data.train, out / "tuned" / task.name, Training(seed), bar
        )
        probe = frozen_probe_accuracy(base, data.train, data.test, progress=bar)
        tasks.append(
            MethodComparison(base, tuned, data.calibration, data.test, task=task.name, probe=probe)
        )
    return base, tasks


def _own_tasks(
    base: Path, tuned: Sequence[str], calibrations: Sequence[Path], tests: Sequence[Path]
) -> "list[MethodComparison]":
    from osd_edge.cli.compare import plain_name
    from osd_edge.data.examples import check_pairs, read_examples, with_known_labels
    from osd_edge.exporters.compare.comparison import MethodComparison
    from osd_edge.exporters.models.checkpoint import Checkpoint, find_model
    from osd_edge.exporters.models.head_plan import classification_labels
    from osd_edge.formats.limits import task_name

    if not len(tuned) == len(calibrations) == len(tests):
        raise InputError(
            Code.INPUT_MODELS,
            f"expected a --calibration and a --test for each of {len(tuned)} --tuned, found "
            f"{len(calibrations)} and {len(tests)}",
        )
    names = [plain_name(model) for model in tuned]
    names = [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, 1)]
    tasks = []
    for name, model, calibration, test in zip(names, tuned, calibrations, tests, strict=True):
        folder = find_model(model)
        labels = classification_labels(Checkpoint(folder))
        parts = []
        for path in (calibration, test):
            parts.append(with_known_labels(path, read_examples(path), labels))
        seen, unseen = parts
        check_pairs({str(calibration): seen, str(test): unseen})
        tasks.append(MethodComparison(base, folder, seen, unseen, task=task_name(name)))
    return tasks


@dataclass(frozen=True)
class _Cost:
    """The swaps of one bundle in ms, and latency over the session without a task."""

    task: str
    swap_warm_ms: float
    swap_cold_ms: float
    latency_to_base: float
    latency_spread: tuple[float, float]


def _swap_and_latency(
    session: "EdgeSession", results: "Sequence[Outcome]", bundles: Path, example: str
) -> list[_Cost]:
    """Load every bundle into the one session, and measure swaps and latency there."""
    from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds
    from osd_edge.device_tests.gauges.samples import percentile, ratio_of
    from osd_edge.device_tests.gauges.swaps import take_swaps

    inputs = session.encode([example])
    files = {}
    for result in results:
        for point in _with_bundles(result):
            path = bundles / point.files[0]
            files[session.load(path, _session_name(point))] = path
    names = list(files)
    swaps = {
        name: take_swaps(session, name, files[name], names, inputs, _SWAPS)
        for name in bar(names, "Measuring swaps")
    }
    run = partial(session.run, inputs)
    variants = [Variant(name, run, partial(session.activate, name)) for name in names]
    taken = measure_rounds([Variant("", run, session.deactivate), *variants], runs=40, seconds=5)
    session.deactivate()
    costs = []
    for name in names:
        ratio = ratio_of(taken[name].wall_ms, taken[""].wall_ms)
        warm, cold = (percentile(swaps[name][figure], 0.5) for figure in ("warm_ms", "cold_ms"))
        costs.append(_Cost(name, warm, cold, ratio["p50"], (ratio["p10"], ratio["p90"])))
    return costs


def _with_bundles(result: "Outcome") -> "list[Point]":
    """The points that have a bundle."""
    return [point for point in result.points if point.size is not None]


def _session_name(point: "Point") -> str:
    """The name of a point's bundle in the session."""
    return point.files[0].removesuffix(".osd.safetensors")


def _alternate(
    session: "EdgeSession", tasks: "Sequence[MethodComparison]", results: "Sequence[Outcome]"
) -> str:
    """Test sentences answered in turn by one task after the other, over the one session."""
    rows = []
    for i in range(min(_SHOWN, *(len(task.test) for task in tasks))):
        for task, result in zip(tasks, results, strict=True):
            points = _with_bundles(result)
            ours = [point for point in points if point.method == "osd-rd"] or points
            if not ours:
                continue
            example = task.test[i]
            name = _session_name(ours[-1])
            session.activate(name)
            answer = session.classify([example.text])[0]
            verdict = "right" if answer.label == example.label else f"wrong: {example.label}"
            rows.append((example.text[:60], name, answer.label, f"{answer.score:.2f}", verdict))
    session.deactivate()
    return table(("test sentence", "active task", "answer", "score", ""), rows)


def _report(
    session: "EdgeSession",
    tasks: "Sequence[MethodComparison]",
    results: "Sequence[Outcome]",
    costs: Sequence[_Cost],
) -> str:
    """The tables at the end."""
    cost = {c.task: c for c in costs}
    rows, refused = [], []
    for result in results:
        size = format_size(result.fp32_bytes)
        rows += [
            (
                f"{result.task}: full fine-tuning",
                percent(result.fine_tuned),
                size,
                "1×",
                "",
                "",
                "",
            ),
            (f"{result.task}: frozen probe", share(result.frozen_probe), "", "", "", "", ""),
            (f"{result.task}: zero delta", percent(result.zero_delta), "", "", "", "", ""),
        ]
        for point in result.points:
            what = f"{result.task}: {point.method}"
            if point.size is None:
                rows.append((f"{what} at {point.budget}", share(None), "", "", "", "", ""))
                refused.append(f"{what} at {point.budget}: {point.refused}")
                continue
            spent = cost[_session_name(point)]
            rows.append(
                (
                    what,
                    share(point.accuracy),
                    format_size(point.size),
                    f"{result.fp32_bytes / point.size:.0f}×",
                    f"{spent.swap_warm_ms:.3f}",
                    f"{spent.swap_cold_ms:.1f}",
                    f"{spent.latency_to_base:.2f}",
                )
            )
    header = ("task", "accuracy %", "on disk", "smaller", "swap ms", "cold ms", "latency ×")
    return "\n".join(
        [
            _alternate(session, tasks, results),
            "",
            table(header, rows),
            "",
            "swap: a decoded task becomes active; cold: read, checked, decoded and active.",
            "latency: with the task active over without, medians of one process, one sentence.",
            *refused,
        ]
    )
