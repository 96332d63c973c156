"""The parts of an open session: base, loaded tasks, batches of mixed rows, tokenizer."""

import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import Code, TaskError
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.heads import Floats
from osd_edge.runtime.finite import check_hidden
from osd_edge.runtime.graph import Memory
from osd_edge.runtime.inputs import RunInputs
from osd_edge.runtime.loaded_tasks import LoadedTasks, TaskOrBase
from osd_edge.runtime.mixed import MixedBatches, check_rows
from osd_edge.runtime.open_base import OpenBase
from osd_edge.runtime.output import Output
from osd_edge.runtime.stacked_factors import Rows
from osd_edge.runtime.task import DecodedTask
from osd_edge.runtime.text import TextEncoder, Texts, as_pairs


class Parts:
    """All that a session holds, for its calls to take at once and to let go of at once."""

    def __init__(self, folder: Path, threads: int, memory: Memory, cache_bytes: int) -> None:
        """Opens the base package in `folder`. Raises BaseError, InputError `input.memory`."""
        self.base = OpenBase(folder, threads, memory)
        self.tasks = LoadedTasks(self.base.manifest, cache_bytes)
        self.mixed = MixedBatches(self.base, self.tasks, cache_bytes)
        # By conversation, so that they go with it, and with the session whatever holds the
        # conversation.
        self.keys: weakref.WeakKeyDictionary[object, Any] = weakref.WeakKeyDictionary()
        self._encoder: TextEncoder | None = None

    @property
    def encoder(self) -> TextEncoder:
        """Turns texts into tokens as the base does; its tokenizer is read when first needed.

        Raises InputError `input.tokenizers`, BaseError `base.text`.
        """
        # Two threads that are first at once may each make one, over one tokenizer: either does. No
        # cached_property, since it has a lock in Python 3.11, which a fork would leave held.
        if self._encoder is None:
            self._encoder = TextEncoder(self.base.tokenizer, self.base.manifest)
        return self._encoder

    def encoder_of(self, decoded: DecodedTask | None) -> TextEncoder:
        """Turns texts into tokens as a task needs it, or as the base alone does.

        Raises InputError `input.tokenizers`, BaseError `base.text`.
        """
        if decoded is None or decoded.text is None:
            return self.encoder
        return TextEncoder(self.base.tokenizer, self.base.manifest, decoded.text)

    def token_inputs(
        self, texts: Texts, pairs: Texts | None, rows: Rows, max_length: int | None
    ) -> dict[str, NDArray[np.int64]]:
        """Makes token inputs of texts, or pairs, each as the task of its row needs it.

        Raises InputError `input.texts`, `input.max-length`, `input.tasks` where there are not as
        many rows as texts; `input.tokenizers`, BaseError `base.text`.
        """
        firsts, seconds = as_pairs(texts, pairs)
        check_rows(rows, len(firsts))
        encodings: list[Any] = [None] * len(rows)
        for settings in dict.fromkeys(_settings(row) for row in rows):
            of = [i for i, row in enumerate(rows) if _settings(row) == settings]
            encoder = self.encoder_of(rows[of[0]])
            own = None if seconds is None else [seconds[i] for i in of]
            cut = encoder.cut([firsts[i] for i in of], own, max_length)
            for i, encoding in zip(of, cut, strict=True):
                encodings[i] = encoding
        return self.encoder.padded(encodings)

    def needed(self, task: TaskOrBase) -> DecodedTask:
        """Decodes the task that is meant; TaskError `task.none` where it is the base alone."""
        decoded = self.tasks.resolve(task)
        if decoded is None:
            raise TaskError(Code.TASK_NONE, "no task is active: activate one, or name it")
        return decoded

    def run(self, inputs: RunInputs, decoded: DecodedTask | None) -> Output:
        """Runs inputs with a task, or with the base alone, and refuses what is not finite."""
        feeds = self.base.checked(inputs)
        mask = feeds.get("attention_mask")
        hidden, pooled = self.base.forward(feeds, {} if decoded is None else decoded.feeds)
        if decoded is None:
            check_hidden(hidden, pooled, mask)
            return Output(None, hidden, pooled, None)
        return Output(decoded.name, hidden, pooled, decoded.logits(hidden, mask, pooled))

    def logits(self, inputs: RunInputs, decoded: DecodedTask) -> Floats:
        """Runs inputs with a task, and gives its logits alone."""
        logits = self.run(inputs, decoded).logits
        assert logits is not None
        return logits


def _settings(row: DecodedTask | None) -> TaskText | None:
    return None if row is None else row.text
