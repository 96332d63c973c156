"""The arrays that a run gives: hidden states, and the logits of the task or tasks that it had."""

from dataclasses import dataclass

from osd_edge.formats.heads import Floats


@dataclass(frozen=True)
class Output:
    """The arrays of a run with one task, or with the base alone.

    Attributes:
        task: the task, None for the base alone.
        hidden: the last hidden states, float32 `[batch, tokens, hidden]`.
        pooled: the output of the base's pooler, float32 `[batch, hidden]`; None where it has none.
        logits: the task's logits, float32 `[batch, labels]`, or `[batch, tokens, labels]` where
            every token is judged, or the vectors `[batch, features]` of an embedding; None for the
            base alone, and for a task that writes text (see `generate`).

    Example:
        >>> session = EdgeSession("minilm")
        >>> session.activate(session.load("mr.osd.safetensors"))
        >>> output = session.run(session.encode(["a dull film", "charming"]))
        >>> output.task, output.logits.shape, output.hidden.shape[:2]
        ('mr', (2, 2), (2, 5))
    """

    task: str | None
    hidden: Floats
    pooled: Floats | None
    logits: Floats | None


@dataclass(frozen=True)
class MixedOutput:
    """The arrays of a run in which every row had its own task.

    Attributes:
        tasks: the task of each row, None for the base alone.
        hidden: as in `Output`.
        pooled: as in `Output`.
        logits: each row's own, float32 `[labels]`, or `[tokens, labels]` where every token is
            judged; None for a row of the base alone, or of a task that writes text.

    Example:
        >>> session = EdgeSession("minilm")
        >>> session.load("mr.osd.safetensors")
        'mr'
        >>> output = session.run(session.encode(["a dull film", "charming"]), tasks=["mr", None])
        >>> output.logits[0].shape, output.logits[1]
        ((2,), None)
    """

    tasks: tuple[str | None, ...]
    hidden: Floats
    pooled: Floats | None
    logits: list[Floats | None]
