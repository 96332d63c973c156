"""The commands of a talk: lines that begin with a slash, and what each of them does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from osd_edge.cli.talk import Cost, Talk
from osd_edge.data.sizes import format_size
from osd_edge.errors import Code, InputError, shown

SLASH = "/"


@dataclass(frozen=True)
class Reply:
    """The reply to a command: lines for people, fields for programs, and whether the talk ends."""

    lines: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    ends: bool = False


@dataclass(frozen=True)
class SlashCommand:
    """A command: what may stand behind it, what it does in words, and the doing."""

    takes: str
    does: str
    run: Callable[[Talk, str], Reply]


def said(line: str) -> str | None:
    """The text that a line says, None where it is a command; two slashes say one.

    >>> said("/stats"), said("//stats"), said("a line")
    (None, '/stats', 'a line')
    """
    if line.startswith(2 * SLASH):
        return line[1:]
    return None if line.startswith(SLASH) else line


def run_command(talk: Talk, line: str) -> Reply:
    """Does what a command's line asks for.

    Raises InputError `input.options` for no command, or for words behind one that takes none;
    TaskError `task.unknown`.
    """
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    command = COMMANDS.get(name)
    if command is None:
        raise InputError(
            Code.INPUT_OPTIONS,
            f"no command {shown(name)}: /help lists them; a line that is to begin with a slash "
            "begins with two",
        )
    if rest and not command.takes:
        raise InputError(Code.INPUT_OPTIONS, f"{name} takes nothing behind it")
    return command.run(talk, rest)


def completions(talk: Talk, line: str) -> list[str]:
    """The lines that a line may be meant to become: commands, and tasks behind /task."""
    choices = [*COMMANDS, *(f"/task {name}" for name in talk.tasks)]
    return [choice for choice in choices if choice.startswith(line)]


def _task(talk: Talk, name: str) -> Reply:
    if not name:
        lines = [f"{'*' if task == talk.task else ' '} {task}" for task in talk.tasks]
        lines.append(f"{'*' if talk.task is None else ' '} the base alone: /base")
        return Reply(tuple(lines), {"task": talk.task, "tasks": list(talk.tasks)})
    return _swapped(talk, name)


def _base(talk: Talk, _: str) -> Reply:
    return _swapped(talk, None)


def _swapped(talk: Talk, name: str | None) -> Reply:
    talk.swap(name)
    line = f"{'the base alone' if name is None else name} answers now"
    if talk.context_used and talk.runs_again:
        line += f": {talk.context_used} tokens of the conversation are run again with the next line"
    return Reply((line,), {"task": name})


def _stats(talk: Talk, _: str) -> Reply:
    costs = talk.costs
    tokens = sum(cost.tokens for cost in costs)
    remembered = talk.conversation is not None
    most = min(talk.facts.context, talk.style.context or talk.facts.context)
    fields: dict[str, Any] = {
        "task": talk.task,
        "answers": len(costs),
        "tokens": tokens,
        "last": _cost_fields(costs[-1]) if costs else None,
        "context_tokens": talk.context_used if remembered else None,
        "most_context_tokens": most,
        "key_bytes": talk.key_bytes if remembered else None,
    }
    rows = [
        ("task", talk.task or "none: the base alone"),
        ("last answer", _cost_words(costs[-1]) if costs else "none so far"),
        ("all answers", f"{len(costs)}, {tokens} tokens"),
    ]
    if remembered:
        rows.append(("conversation", f"{talk.context_used} of {most} tokens"))
        rows.append(("memory of keys", format_size(talk.key_bytes)))
    else:
        rows.append(("conversation", "none: each line stands for itself"))
    return Reply(tuple(f"{name:<16}{words}" for name, words in rows), fields)


def _cost_fields(cost: Cost) -> dict[str, Any]:
    return {
        "tokens": cost.tokens,
        "seconds_to_first": cost.seconds_to_first,
        "seconds": cost.seconds,
        "tokens_a_second": cost.rate,
    }


def _cost_words(cost: Cost) -> str:
    rate = "" if cost.rate is None else f", {cost.rate:.1f} a second"
    return f"{cost.tokens} tokens, the first after {cost.seconds_to_first:.2f} s{rate}"


def _reset(talk: Talk, _: str) -> Reply:
    talk.reset()
    return Reply(("a new conversation",), {"context_tokens": 0})


def _help(_: Talk, __: str) -> Reply:
    rows = [(f"{name} {command.takes}".strip(), command.does) for name, command in COMMANDS.items()]
    rows += [("//TEXT", "says /TEXT"), ("Ctrl-C", "ends an answer; at the prompt, leaves")]
    lines = tuple(f"{name:<14}{does}" for name, does in rows)
    return Reply(lines, {"commands": {name: command.does for name, command in COMMANDS.items()}})


def _exit(_: Talk, __: str) -> Reply:
    return Reply(ends=True)


COMMANDS = {
    "/task": SlashCommand("[NAME]", "swaps to a task; without a name, lists them", _task),
    "/base": SlashCommand("", "lets the base alone answer", _base),
    "/stats": SlashCommand("", "tells what answers cost, and how full the conversation is", _stats),
    "/reset": SlashCommand("", "begins a new conversation", _reset),
    "/help": SlashCommand("", "lists the commands", _help),
    "/exit": SlashCommand("", "leaves, as Ctrl-D does", _exit),
}
