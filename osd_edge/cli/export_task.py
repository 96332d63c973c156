"""`osd-edge export task`: a fine-tuned model, or adapters, become a task bundle."""

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osd_edge.cli.bars import bar
from osd_edge.cli.fields import options_of, values_of
from osd_edge.cli.options import example, json_option, weighted
from osd_edge.cli.output import percent, print_json
from osd_edge.cli.text_settings import text_settings
from osd_edge.data.sizes import format_size
from osd_edge.errors import shown
from osd_edge.exporters.methods.options import NATS, TaskOptions, not_taken
from osd_edge.exporters.methods.registry import METHODS
from osd_edge.formats.kinds import KINDS

if TYPE_CHECKING:
    from osd_edge.exporters import TaskReport
    from osd_edge.exporters.scoring.score import Score

_MOST_NAMED = 6  # of what is left out
_LITTLE = 0.5  # a share of the gain with which hardly anybody is content
_MORE = {
    "none": "a larger --budget, or --refine scales or codes,",
    "scales": "a larger --budget, or --refine codes,",
}
_MORE_BYTES = "a larger --budget"


@click.command(
    "task",
    epilog=example(
        "osd-edge export task --base path/to/base --tuned path/to/classifier \\",
        "    --calibration sentences.txt --budget 16KiB --refine codes -o mr.osd.safetensors",
    ),
)
@options_of(TaskOptions)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="osd-rd: layers decomposed at once. The bundle is the same whatever their number. "
    "Default: 1.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The bundle, by custom NAME.osd.safetensors.",
)
@json_option
def export_task(jobs: int | None, out: Path, as_json: bool, **given: Any) -> None:
    """Compress what a model learned over its base into a task bundle."""
    from osd_edge.exporters import export_task as run
    from osd_edge.exporters.quiet import quiet_libraries

    if (given["tuned"] is None) == (not given["adapters"]):
        raise click.UsageError("Give --tuned MODEL, or --adapter DIR: one of the two.")
    quiet_libraries()
    entry = METHODS[given["method"]]
    if jobs is not None and not entry.parallel:
        raise not_taken(entry.name, "--jobs")
    if given["seed"] is not None and not entry.accepts("seed"):
        raise not_taken(entry.name, "--seed")
    options = values_of(TaskOptions, given)
    base, tuned = options.pop("base"), options.pop("tuned", None)
    if "adapters" in options:
        options["adapters"] = [weighted(adapter) for adapter in options["adapters"]]
    if "labels" in options:
        options["labels"] = [label.strip() for label in options["labels"].split(",")]
    # Idle workers keep threads of torch's own, and those slow everything after by a sixth.
    several = jobs is not None and jobs > 1
    with ThreadPoolExecutor(jobs) if several else nullcontext() as executor:
        try:
            report = run(base, tuned, out, executor=executor, progress=bar, **options)
        except BaseException:
            if executor is not None:  # what is not begun yet would be waited for
                executor.shutdown(wait=False, cancel_futures=True)
            raise
    if as_json:
        print_json(report.as_dict())
    else:
        click.echo(_describe(report))


def _describe(report: "TaskReport") -> str:
    writes = KINDS[report.kind].writes
    lines = [
        f"{report.path}: task {report.task!r}, {format_size(report.size)} ({report.size} bytes)",
        f"  {report.method}"
        + (f", budget {report.budget}" if report.budget else "")
        + (f", keep {report.keep:g}" if report.keep else "")
        + (f", refined: {report.refine}" if report.refine else "")
        + (f", for {report.base_weights} weights" if report.base_weights != "fp32" else "")
        + (f", {report.values} values at {report.sites} sites" if report.sites else "")
        + (f", k = r + {report.extra_rank}" if report.extra_rank is not None else ""),
        f"  delta {report.delta_size} bytes, "
        f"{'header' if writes else 'head and header'} {report.head_size} bytes"
        if METHODS[report.method].delta
        else "  no delta: a head over the unchanged base",
    ]
    lines += _origin(report)
    if report.adapter_size is not None:
        saved = 1 - report.size / report.adapter_size
        lines.append(
            f"  the adapter's weights take {report.adapter_size} bytes: "
            + (f"{percent(saved)} % saved" if saved > 0 else "less than this bundle")
        )
    if report.paper_bits is not None:
        lines.append(
            f"  the paper's count μ: {report.paper_bits} bits ({report.paper_bits / 8:.0f} bytes)"
            + (f" of {report.paper_bits_allowed} allowed" if report.paper_bits_allowed else "")
        )
    lines += _texts(report) + _curve(report) + _scores(report) + _familiarity(report)
    lines += _left_out(report) + _vectors(report)
    if METHODS[report.method].delta and report.needs_no_delta:
        lines.append(
            "  a head on the frozen base is as good within the noise of these rows: "
            "--method head makes a bundle of it alone"
        )
    return "\n".join(lines)


def _origin(report: "TaskReport") -> list[str]:
    """Says of the models what should be known before the bundle is trusted."""
    lines = []
    if report.foreign:
        cosines = ", ".join(f"{cosine:.2f} for {name}" for name, cosine in report.likeness.items())
        lines.append(
            f"  not fine-tuned from this base, by the cosine of their weights: {cosines}; "
            "taken all the same (--any-base)"
        )
    lines += [
        f"  the adapter is for {shown(name, 80)}, by its own word; the base has another name"
        for name in report.adapter_bases
    ]
    if report.kind_unsaid:
        lines.append(
            "  one output, and no problem_type in the model's configuration: taken as a number "
            "(--kind regression); --kind multi-label makes a chance of it, as transformers' "
            "pipelines do"
        )
    return lines


def _texts(report: "TaskReport") -> list[str]:
    """Says how the task's texts become tokens, where the base alone would do it otherwise."""
    lines = []
    if report.text:
        lines.append(f"  texts: {text_settings(report.text)}")
    if report.longer_texts is not None:
        lines.append(
            "  a device cuts texts as the base's tokenizer says, sooner than this model's own "
            f"software, which takes {report.longer_texts} tokens"
        )
    if report.prompts:
        named = ", ".join(f"{name} {text!r}" for name, text in report.prompts.items())
        lines.append(f"  its other prompts are put before no text unless you do: {shown(named)}")
    return lines


def _scores(report: "TaskReport") -> list[str]:
    if not (report.fine_tuned and report.linear_only and report.compressed):
        from osd_edge.exporters.scoring.held_back import FEWEST_ROWS

        why = "give --calibration to see what the compression costs"
        if report.calibration_examples >= FEWEST_ROWS:
            why = "this method gives no scores"
        elif report.calibration_examples:
            why = f"{report.calibration_examples} calibration rows are too few to hold any back"
        return [f"  not measured: {why}"]
    rows = f"{report.calibration_examples} calibration examples"
    if report.only_scored:
        rows = f"{report.held_back} examples that only score"
    elif report.held_back:
        rows = f"{report.held_back} held-back calibration examples"
    writes = KINDS[report.kind].writes
    if writes:
        shown, floor = "rows written exactly, nats a token, same next token", "base alone"
        left = "(embeddings, norms and the layer of logits as the base has them)"
        if report.vectors is not None:
            left = "(with norms; embeddings and the layer of logits as the base has them)"
    else:
        shown = "accuracy, loss" if report.labelled else "agreement, divergence"
        left, floor = "(embedding, bias and LayerNorm deltas left out)", "frozen head"
        if report.vectors is not None:
            left = "(with biases and LayerNorms; embedding deltas left out)"
    lines = [
        f"  on {rows} ({shown}):",
        f"    fine-tuned       {_score(report.fine_tuned)}",
        f"    linear layers    {_score(report.linear_only)}   {left}",
        f"    this bundle      {_score(report.compressed)}",
    ]
    if not METHODS[report.method].delta:  # it is the frozen head
        return lines
    if report.frozen_head:
        as_it_is = "" if writes else "   (the base as it is)"
        lines.append(f"    {floor:<16} {_score(report.frozen_head)}{as_it_is}")
    if report.share is not None:
        error = "" if report.share_error is None else f" ± {percent(report.share_error)}"
        counted = ", in nats" if report.keep_by == NATS else ", in rows" if writes else ""
        over = "the base alone" if writes else "the frozen head"
        lines.append(f"  keeps {percent(report.share)}{error} % of the gain over {over}{counted}")
        if report.share < _LITTLE:
            lines.append(f"  little: {_MORE.get(str(report.refine), _MORE_BYTES)} keeps more")
    return lines


def _familiarity(report: "TaskReport") -> list[str]:
    """Says where rows that score do not tell how a bundle does on new ones."""
    lines = []
    if report.shared_rows:
        lines.append(
            f"  {report.shared_rows} of the {report.held_back} examples that only score are "
            "calibration examples too"
        )
    found = report.familiarity
    if found is not None and found.seen:
        advice = "" if report.only_scored else "; give some with --score-on FILE"
        lines.append(
            "  the fine-tuned model seems to have been trained on these examples "
            f"({percent(found.sure)} % sure of its answers, {percent(found.right)} % right; on new "
            f"ones models are surer than right), so that shares on new ones differ{advice}"
        )
    return lines


def _left_out(report: "TaskReport") -> list[str]:
    """Names what the bundle leaves out, the largest first, and how much that is.

    Where rows scored too, it is named in any case: they may not need what other texts would.
    """
    if not report.left_out:
        return []
    named = sorted(report.left_out.items(), key=lambda item: -item[1])[:_MOST_NAMED]
    more = len(report.left_out) - len(named)
    lines = [
        "  left out, as the base has it: "
        + ", ".join(f"{name} ({_change(size)})" for name, size in named)
        + (f" and {more} more" if more else "")
    ]
    if report.left_out_beside_delta is not None:
        share = percent(report.left_out_beside_delta)
        lines.append(f"    together {share} % of the size of the linear layers' delta")
    return lines


def _vectors(report: "TaskReport") -> list[str]:
    """Tells of biases and norms: those in the bundle, or that they are missed in it."""
    if report.vectors:
        return [
            f"  {report.vectors} biases and norms change, in {report.vectors_size} bytes: runs "
            "over a base exported with --vectors"
        ]
    if report.vectors is not None:
        return ["  no bias or norm changes, or none is worth its bytes here: runs over any base"]
    if report.needs_vectors and report.with_vectors:
        reached = f"{percent(report.with_vectors.accuracy)} %"
        if KINDS[report.kind].writes:
            reached = f"{report.with_vectors.loss:.4f} nats a token"
        return [
            f"  linear layers with biases and norms reach {reached}: --vectors, of osd-rd and of "
            "the base's export, has these in the bundle"
        ]
    return []


def _change(size: float) -> str:
    return f"changed by {percent(size)} %" if math.isfinite(size) else "zeros in the base"


def _curve(report: "TaskReport") -> list[str]:
    if not report.curve:
        return []
    return ["  tried (bytes, accuracy, share of the gain):"] + [
        f"    {point.size:>8}  {percent(point.accuracy):>5} %  {percent(point.share):>6} %"
        for point in report.curve
    ]


def _score(score: "Score") -> str:
    same = "" if score.next_same is None else f"  {percent(score.next_same):>5} %"
    return f"{percent(score.accuracy):>5} %  {score.loss:.4f}{same}"
