"""The kinds of task that a bundle may be of, and the facts that the format states of each.

What a kind means when a model is trained or scored is in `osd_edge.exporters.kinds`, how its logits
become an answer in `osd_edge.runtime.kinds`. A new kind is an object in each of the three tables.
"""

from dataclasses import dataclass

MAX_LAYERS = 16  # of a head


@dataclass(frozen=True)
class TaskKind:
    """One kind of task, as the bundle format knows it.

    With `per_token` every token has logits of its own, and the head's pooling is `none`. A kind
    that gives a `vector` has no labels, may do without layers, and says whether the vector is
    normalised. One that `writes` has neither layers nor labels: its tokens come of the base's own
    logits. `labels` are those of every task of the kind, None where a task names its own.
    """

    name: str
    per_token: bool = False
    vector: bool = False
    writes: bool = False
    labels: tuple[str, ...] | None = None

    @property
    def layers(self) -> range:
        """The numbers of linear layers that a head of the kind may have."""
        return range(0 if self.vector or self.writes else 1, 1 if self.writes else MAX_LAYERS + 1)

    def takes(self, pooling: str) -> bool:
        """Says whether a head of the kind may have this pooling."""
        own = {"none": self.per_token, "logits": self.writes}
        return own.get(pooling, not (self.per_token or self.writes))


GENERATE = TaskKind("generate", writes=True)  # text, a token after the other
KINDS = {
    kind.name: kind
    for kind in (
        TaskKind("labels"),  # one of them
        TaskKind("multi-label"),  # any of them
        TaskKind("regression"),  # numbers
        TaskKind("token-labels", per_token=True),  # one for each token
        TaskKind("spans", per_token=True, labels=("start", "end")),  # of an answer in a context
        TaskKind("embedding", vector=True),
        GENERATE,
    )
}


def format_kind(name: str) -> TaskKind | None:
    """Finds what the format states of the kind called `name`; None for one it does not know."""
    return KINDS.get(name)
