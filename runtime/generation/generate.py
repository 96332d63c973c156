"""Prepares the rows of a call to `generate`, and gives the pieces of their answers."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from osd_edge.data.arguments import described
from osd_edge.errors import BaseError, Code, InputError, OsdEdgeError
from osd_edge.formats.package.chat import Message
from osd_edge.formats.package.generation import Generation
from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.answer_settings import AnswerSettings
from osd_edge.runtime.generation.loop import Cancelled, key_cache, write
from osd_edge.runtime.generation.prompts import PromptEncoder
from osd_edge.runtime.generation.results import REFUSED, Piece
from osd_edge.runtime.inputs import as_list
from osd_edge.runtime.kinds import expect_kind
from osd_edge.runtime.kinds.generate import Generate
from osd_edge.runtime.loaded_tasks import ACTIVE, TaskOrBase
from osd_edge.runtime.mixed import TaskNames, task_names
from osd_edge.runtime.parts import Parts
from osd_edge.runtime.task import DecodedTask

Cancel = threading.Event | Callable[[], object] | None


def facts_of(parts: Parts) -> Generation:
    """Gives the facts of a base that writes text; BaseError `base.generation` for another."""
    facts = parts.base.manifest.generation
    if facts is None:
        raise no_generation()
    return facts


def no_generation() -> BaseError:
    """The refusal of text to be written by a base package without logits."""
    return BaseError(
        Code.BASE_GENERATION,
        "this base package writes no text: export a model that writes, such as a Llama, with "
        "--task generate",
    )


def prepared(
    parts: Parts, prompts: object, task: TaskOrBase, tasks: TaskNames | None
) -> list[AnswerRow]:
    """Makes a row of each prompt, with its tokens and its task; those that cannot be are refused.

    Raises InputError `input.prompt` for what is no list of prompts, `input.tasks`; where all rows
    are refused, the first one's refusal.
    """
    facts = facts_of(parts)
    listed = as_list(prompts)
    if isinstance(listed, Sequence) and listed and isinstance(listed[0], Mapping | Message):
        raise InputError(
            Code.INPUT_PROMPT,
            "expected a list of prompts, found the messages of one: put them into a list",
        )
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes) or not listed:
        raise InputError(
            Code.INPUT_PROMPT, f"expected a list of one or more prompts, found {described(prompts)}"
        )
    names = _names(parts, len(listed), task, tasks)
    known: dict[TaskOrBase, DecodedTask | OsdEdgeError | None] = {}
    encoder = PromptEncoder(parts.base.tokenizer, facts)
    rows = []
    for number, (prompt, name) in enumerate(zip(listed, names, strict=True)):
        found = _resolved(parts, name, known)
        row = AnswerRow(number, found.name if isinstance(found, DecodedTask) else _shown(name))
        rows.append(row)
        try:
            if isinstance(found, OsdEdgeError):
                raise found
            row.task = found
            row.prompt = encoder.tokens(prompt)
            check_context(len(row.prompt), facts.context)
        except OsdEdgeError as error:
            row.refuse(error)
    _raise_if_all_refused(rows)
    return rows


def check_context(tokens: int, most: int) -> None:
    """Refuses (`input.context`) a prompt that leaves no room for an answer."""
    if tokens >= most:
        raise InputError(
            Code.INPUT_CONTEXT,
            f"expected a prompt of fewer than {most} tokens, found {tokens}: shorten it",
        )


def pieces_of(
    parts: Parts, rows: Sequence[AnswerRow], settings: AnswerSettings, cancelled: Cancelled
) -> Iterator[Piece]:
    """Gives the pieces of all rows as they come, those that are refused first.

    Raises the first row's refusal where all come to be refused.
    """
    facts = facts_of(parts)
    tokenizer = tokenizer_of(parts, settings)
    for row in rows:
        if row.error is not None:
            yield Piece(row.number, "", (), REFUSED, row.error)
    for batch in _batches(parts, [row for row in rows if row.error is None]):
        for row in batch:
            row.start(settings, facts.context, tokenizer)
        longest = max(len(row.prompt) for row in batch)
        most = min(facts.context, longest + settings.max_tokens)
        yield from write(batch, key_cache(parts.base, len(batch), most), cancelled)
    _raise_if_all_refused(rows)


def tokenizer_of(parts: Parts, settings: AnswerSettings) -> Any:
    """Gives the tokenizer; None where there is none and prompts of token ids need none.

    Raises InputError `input.tokenizers`, BaseError `base.text`, where stop texts need it.
    """
    try:
        return parts.base.tokenizer.read()[0]
    except (InputError, BaseError) as error:
        without = error.code == Code.INPUT_TOKENIZERS or parts.base.manifest.text is None
        if settings.stop or not without:
            raise
        return None


def cancellation(cancel: Cancel) -> Cancelled:
    """Gives a function that says whether the caller wants no more, once and for all.

    Raises InputError `input.type` for what is neither an event nor a function.
    """
    if cancel is None:
        return lambda: False
    ask = cancel.is_set if isinstance(cancel, threading.Event) else cancel
    if not callable(ask):
        raise InputError(
            Code.INPUT_TYPE, f"cancel: expected an Event or a function, found {described(cancel)}"
        )
    asked = ask
    answers: list[bool] = []

    def cancelled() -> bool:
        if not answers and asked():
            answers.append(True)
        return bool(answers)

    return cancelled


def _names(
    parts: Parts, count: int, task: TaskOrBase, tasks: TaskNames | None
) -> Sequence[TaskOrBase]:
    if tasks is None:
        return [task] * count
    if task is not ACTIVE:
        raise InputError(Code.INPUT_TASKS, "give task or tasks, not both")
    names = task_names(tasks)
    if len(names) != count:
        raise InputError(
            Code.INPUT_TASKS,
            f"expected a list with the task of each of {count} prompts, found {len(names)}",
        )
    return names


def _resolved(
    parts: Parts,
    name: TaskOrBase,
    known: dict[TaskOrBase, DecodedTask | OsdEdgeError | None],
) -> DecodedTask | OsdEdgeError | None:
    """Gives a task, decoded once for all rows of its name, or its refusal."""
    can_be = name is ACTIVE or name is None or isinstance(name, str)  # all else is refused
    if not can_be or name not in known:
        try:
            found: DecodedTask | OsdEdgeError | None = writing_task(parts, name)
        except OsdEdgeError as error:
            return error
        known[name] = found
    return known[name]


def writing_task(parts: Parts, name: TaskOrBase) -> DecodedTask | None:
    """Decodes a task that writes text, None for the base alone.

    Raises TaskError `task.unknown`, `task.kind` for a task of another kind.
    """
    decoded = parts.tasks.resolve(name)
    if decoded is not None:
        expect_kind(decoded.name, decoded.head.kind, Generate)
    return decoded


def _shown(name: TaskOrBase) -> str | None:
    return name if isinstance(name, str) else None


def _batches(parts: Parts, rows: Sequence[AnswerRow]) -> list[list[AnswerRow]]:
    """All rows as one batch; a batch for each task where the graph takes no stacked factors."""
    if parts.base.manifest.mixed_rows:
        return [list(rows)] if rows else []
    groups: dict[str | None, list[AnswerRow]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    return list(groups.values())


def _raise_if_all_refused(rows: Sequence[AnswerRow]) -> None:
    errors = [row.error for row in rows]
    if errors[0] is not None and all(error is not None for error in errors):
        raise errors[0]
