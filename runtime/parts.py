"""The parts of an open session: base, loaded tasks, batches of mixed rows, tokenizer."""

import weakref
from pathlib import Path
from typing import Any

from osd_edge.errors import Code, TaskError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.finite import check_hidden
from osd_edge.runtime.graph import Memory
from osd_edge.runtime.inputs import RunInputs
from osd_edge.runtime.loaded_tasks import LoadedTasks, TaskOrBase
from osd_edge.runtime.mixed import MixedBatches
from osd_edge.runtime.open_base import OpenBase
from osd_edge.runtime.output import Output
from osd_edge.runtime.task import DecodedTask
from osd_edge.runtime.text import TextEncoder


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
        """The base's tokenizer, read when it is first needed.

        Raises InputError `input.tokenizers`, BaseError `base.text`.
        """
        # Two threads that are first at once may each make one, over one tokenizer: either does. No
        # cached_property, since it has a lock in Python 3.11, which a fork would leave held.
        if self._encoder is None:
            self._encoder = TextEncoder(self.base.tokenizer, self.base.manifest)
        return self._encoder

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
