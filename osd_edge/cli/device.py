"""`osd-edge run` and `osd-edge evaluate`: ask tasks on a device, and score them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from osd_edge.cli.bars import bar
from osd_edge.cli.bundles import bundle_option, bundles_option, load_bundles
from osd_edge.cli.options import (
    base_option,
    example,
    json_option,
    memory_option,
    threads_option,
)
from osd_edge.cli.output import percent, print_json, table
from osd_edge.cli.prompts import (
    Prompts,
    write_for_people,
    write_for_programs,
    writing_options,
)
from osd_edge.errors import Code, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from osd_edge.formats.named_bundle import NamedBundle
    from osd_edge.runtime.graph import Memory

max_length_option = click.option(
    "--max-length",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Fewer tokens than the task and the base take.",
)


@click.command(
    epilog=example(
        "osd-edge run --base minilm --bundle mr.osd.safetensors --text 'a film of real charm'",
        "osd-edge run --base smollm2 --chat --prompt 'What is the capital of France?'",
    )
)
@base_option
@bundles_option("Without one, the base answers prompts.")
@click.option("--task", "names", multiple=True, metavar="NAME", help="Default: every task.")
@click.option("--text", "texts", multiple=True, help="May be repeated.")
@click.option(
    "--prompt", "prompts", multiple=True, metavar="TEXT", help="To be answered; may be repeated."
)
@click.option("--chat", is_flag=True, help="Prompts are what a user says in a conversation.")
@click.option("--system", metavar="TEXT", help="The message before all others; implies --chat.")
@click.option("--question", help="What tasks that find answers look for in each text.")
@writing_options
@max_length_option
@threads_option
@memory_option
@json_option
def run(
    base: Path,
    bundles: "tuple[NamedBundle, ...]",
    names: tuple[str, ...],
    texts: tuple[str, ...],
    prompts: tuple[str, ...],
    chat: bool,
    system: str | None,
    question: str | None,
    max_length: int | None,
    threads: int,
    memory: "Memory",
    as_json: bool,
    **words: Any,
) -> None:
    """Answer texts, or write answers to prompts, with each task in turn, over one session."""
    from osd_edge.cli.answers import answer_entries, table_row
    from osd_edge.runtime import EdgeSession
    from osd_edge.runtime.kinds import KINDS

    _check_asked(texts, prompts, bundles)
    _check_options(("question", "max_length") if prompts else ("chat", "system", *words))
    session = EdgeSession(base, threads=threads, memory=memory)
    load_bundles(session, bundles)
    asked = names or session.tasks
    if prompts:
        write = write_for_programs if as_json else write_for_people
        if not write(session, asked or (None,), Prompts(prompts, chat, system), words):
            sys.exit(1)
        return
    if question is not None and not any(KINDS[session.kind(name)].takes_question for name in asked):
        raise InputError(Code.INPUT_OPTIONS, "--question is for tasks that find answers: none here")
    results = [
        entry
        for name in asked
        for entry in answer_entries(session, name, texts, question=question, max_length=max_length)
    ]
    if as_json:
        print_json(results)
        return
    header = ("text", "task", "label", "score")
    click.echo(table(header, [table_row(entry) for entry in results]))


def _check_asked(
    texts: tuple[str, ...], prompts: tuple[str, ...], bundles: "tuple[NamedBundle, ...]"
) -> None:
    """Refuses (`input.options`) other than texts or prompts, or texts without a task."""
    if bool(texts) == bool(prompts):
        found = "both" if texts else "neither"
        raise InputError(
            Code.INPUT_OPTIONS,
            f"expected --text, or --prompt for tasks that write text, found {found}",
        )
    if texts and not bundles:
        raise InputError(Code.INPUT_OPTIONS, "--text needs a task: give --bundle")


def _check_options(others: tuple[str, ...]) -> None:
    """Refuses (`input.options`) options that would be given in vain: `others` have no use here."""
    context = click.get_current_context()
    given = [o for o in others if context.get_parameter_source(o) is not ParameterSource.DEFAULT]
    if given:
        options = ", ".join(f"--{one.replace('_', '-')}" for one in given)
        other = "--prompt" if "chat" in others else "--text"
        raise InputError(
            Code.INPUT_OPTIONS, f"{options}: for {other} alone, which is not given: leave it out"
        )


@click.command(
    epilog=example("osd-edge evaluate --base minilm --bundle mr.osd.safetensors --data test.tsv")
)
@base_option
@bundle_option
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Examples with right answers: a table (.tsv, .csv) with the columns label and text, "
    ".jsonl or .conll; docs/rows.md has the form for each kind of task.",
)
@max_length_option
@threads_option
@memory_option
@json_option
def evaluate(
    base: Path,
    bundle: "NamedBundle",
    data: Path,
    max_length: int | None,
    threads: int,
    memory: "Memory",
    as_json: bool,
) -> None:
    """Score a task bundle on examples, as its kind of task is scored.

    Accuracy of labels; F1 of tags, or of several labels; correlation of numbers; exact match and
    F1 of answers; of an embedding correlation, or recall.
    """
    from osd_edge.data.examples import read_examples
    from osd_edge.runtime import EdgeSession
    from osd_edge.runtime import evaluate as evaluate_task
    from osd_edge.runtime.kinds import KINDS

    if data.suffix.lower() == ".txt":
        raise InputError(
            Code.INPUT_DATA,
            f"expected examples with right answers in a .tsv, .csv, .jsonl or .conll, found {data}",
        )
    session = EdgeSession(base, threads=threads, memory=memory)
    name = session.load(bundle.path, bundle.name)
    kind = KINDS[session.kind(name)]
    kind.check_scored(name)
    examples = kind.with_right_answers(data, session.labels(name), read_examples(data))
    result = evaluate_task(session, name, examples, max_length=max_length, progress=bar)
    if as_json:
        print_json(result.as_dict())
    elif result.accuracy is not None:
        click.echo(
            f"{result.task}: {percent(result.accuracy)} % of {result.examples} examples right"
        )
    else:
        click.echo(f"{result.task}: {_named_scores(result.scores)}, of {result.examples} examples")


def _named_scores(scores: "Mapping[str, float | None]") -> str:
    """Scores for people: shares in percent, correlations from -1 to 1."""
    shown = []
    for name, score in scores.items():
        text = "–" if score is None else f"{percent(score)} %"
        if name in ("pearson", "spearman") and score is not None:
            text = f"{score:.3f}"
        shown.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(shown)
