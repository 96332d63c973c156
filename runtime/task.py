"""A task as the session runs it: its factors as graph inputs, and its head."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.heads import Floats, Head, apply_head
from osd_edge.formats.package.feeds import factor_feeds
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.finite import check_logits

Array = NDArray[Any]


@dataclass(frozen=True)
class DecodedTask:
    """A task ready to run: what to feed the graph, and the head that makes answers of its outputs.

    `feeds` maps graph inputs to factors, U as `[1, k, n]` and V as `[1, d, k]`, all of them views
    of one arena. `nbytes` is the memory this takes. `source` has the bytes of its bundle, `text`
    its settings of how texts become tokens, where it has any.
    """

    name: str
    labels: tuple[str, ...]
    feeds: Mapping[str, Array]
    head: Head
    nbytes: int
    source: bytes = b""
    text: TaskText | None = None

    @property
    def digest(self) -> str:
        """The digest of the bundle's bytes, 64 hex digits."""
        return hashlib.sha256(self.source).hexdigest()

    def logits(self, hidden: Floats, mask: Array | None, pooled: Floats | None) -> Floats | None:
        """Applies the head, as `apply_head` does, to what a run with the task's factors gave.

        None for a task that writes text, whose logits are the graph's own. Raises TaskError
        `task.not-finite`.
        """
        if self.head.pooling == "logits":
            check_logits(self.name, hidden, mask)  # of which logits would be made
            return None
        with np.errstate(over="ignore", invalid="ignore"):  # refused in a sentence
            logits = apply_head(self.head, hidden, mask, pooled)
        check_logits(self.name, logits, mask)
        return logits


def decode_task(name: str, bundle: Bundle, manifest: BaseManifest) -> DecodedTask:
    """Decodes `bundle`, which must have been checked to fit `manifest`.

    Raises TaskError `task.range` where a package takes fp16 factors and the task's are too large.
    """
    bundle = bundle.decoded()
    feeds = factor_feeds(name, bundle, manifest)
    head = bundle.head.decode()
    weights = [w for layer in head.layers for w in (layer.weight, layer.u, layer.v, layer.bias)]
    size = sum(x.nbytes for x in (*feeds.values(), *weights) if x is not None)
    return DecodedTask(name, bundle.labels, feeds, head, size, text=bundle.text)
