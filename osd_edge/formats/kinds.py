"""The kinds of task that a bundle may be of, and the facts that the format states of each.

What a kind means when a model is trained or scored is in `osd_edge.exporters.kinds`, how its logits
become an answer in `osd_edge.runtime.kinds`. A new kind is an object in each of the three tables.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskKind:
    """One kind of task, as the bundle format knows it.

    With `per_token` every token has logits of its own, and the head's pooling is `none`. A kind
    that gives a `vector` has no labels, may do without layers, and says whether the vector is
    normalised. `labels` are those of every task of the kind, None where a task names its own.
    """

    name: str
    per_token: bool = False
    vector: bool = False
    labels: tuple[str, ...] | None = None

    @property
    def least_layers(self) -> int:
        """The fewest linear layers that a head of the kind has."""
        return 0 if self.vector else 1


KINDS = {
    kind.name: kind
    for kind in (
        TaskKind("labels"),  # one of them
        TaskKind("multi-label"),  # any of them
        TaskKind("regression"),  # numbers
        TaskKind("token-labels", per_token=True),  # one for each token
        TaskKind("spans", per_token=True, labels=("start", "end")),  # of an answer in a context
        TaskKind("embedding", vector=True),
    )
}
