"""What a run gives: hidden states, and the answers of the task or tasks it had."""

from dataclasses import dataclass

from osd_edge.formats.heads import Floats


@dataclass(frozen=True)
class Output:
    """What a run gives: `hidden` `[batch, tokens, hidden]`, and the task's `logits`.

    `pooled` `[batch, hidden]` where the base has a pooler; `task` and `logits`
    `[batch, labels]` are None where no task was applied. Tasks that judge every token have logits
    `[batch, tokens, labels]`.
    """

    task: str | None
    hidden: Floats
    pooled: Floats | None
    logits: Floats | None


@dataclass(frozen=True)
class MixedOutput:
    """What a run with a task for each row gives: `hidden` and `pooled` as in `Output`.

    `tasks` and `logits` have an entry for each row: the task's name and its logits `[labels]` or
    `[tokens, labels]`, which differ between tasks; both are None for a row of the base alone.
    """

    tasks: tuple[str | None, ...]
    hidden: Floats
    pooled: Floats | None
    logits: list[Floats | None]
