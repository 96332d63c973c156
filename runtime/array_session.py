"""A session that takes arrays: tasks loaded and swapped over one base, token ids or pixels in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from numpy.typing import NDArray

from osd_edge.errors import Code, InputError
from osd_edge.formats.heads import apply_head
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.graph import Memory
from osd_edge.runtime.loaded_tasks import ACTIVE, LoadedTasks, TaskOrBase
from osd_edge.runtime.mixed import MixedBatches
from osd_edge.runtime.open_base import OpenBase
from osd_edge.runtime.output import MixedOutput, Output
from osd_edge.runtime.task import DecodedTask


class ArraySession:
    """Tasks over one base, of which a run takes token ids or pixels and gives logits.

    `EdgeSession` adds texts and pictures in, and answers out.
    """

    def __init__(
        self,
        base: str | Path,
        *,
        threads: int = 0,
        cache_bytes: int = 64 * 2**20,
        memory: Memory = "default",
    ) -> None:
        """Open base package `base` on `threads` threads (0: all cores).

        `memory` "low" is for small devices: `osd_edge.runtime.graph.open_graph` says what it
        costs. Raises BaseError, InputError `input.memory`.
        """
        self.folder = Path(base)
        self._base = OpenBase(self.folder, threads, memory)
        self._tasks = LoadedTasks(self.manifest, cache_bytes)
        self._mixed = MixedBatches(self._base, self._tasks, cache_bytes)

    @property
    def manifest(self) -> BaseManifest:
        """The description of the base: its family, inputs, sites and fingerprint."""
        return self._base.manifest

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the loaded tasks, in the order they were loaded."""
        return self._tasks.names

    @property
    def active(self) -> str | None:
        """Name of the active task, None where there is none."""
        return self._tasks.active

    def kind(self, name: str) -> str:
        """Kind of a loaded task: `labels`, `token-labels`, … as `formats.heads` lists them."""
        return self._tasks.kind(name)

    def labels(self, name: str) -> tuple[str, ...]:
        """Labels of a loaded task, in the order of its logits."""
        return self._tasks.labels(name)

    def load(self, path: str | Path, name: str | None = None) -> str:
        """Check the bundle at `path` and keep it, coded; return the task's name.

        `name` replaces the name in the bundle. Raises BundleError where the file is damaged or
        made for another base, TaskError `task.taken` where the name is in use.
        """
        return self._tasks.load(Path(path), name)

    def activate(self, name: str) -> None:
        """Make a loaded task the one that runs use. Raises TaskError `task.unknown`."""
        self._tasks.activate(name)

    def deactivate(self) -> None:
        """Return to the base: runs give exactly what they gave before any task."""
        self._tasks.deactivate()

    def unload(self, name: str) -> None:
        """Forget a loaded task, and deactivate it if it is active."""
        self._tasks.unload(name)
        self._mixed.forget()

    @overload
    def run(self, inputs: Mapping[str, NDArray[Any]], task: TaskOrBase = ACTIVE) -> Output: ...

    @overload
    def run(
        self, inputs: Mapping[str, NDArray[Any]], *, tasks: Sequence[str | None]
    ) -> MixedOutput: ...

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        task: TaskOrBase = ACTIVE,
        *,
        tasks: Sequence[str | None] | None = None,
    ) -> Output | MixedOutput:
        """Run token `inputs` `[batch, tokens]`, or pictures, through the base with a task.

        `task` names a loaded task for this run only; None is the base alone; the default is the
        active task. `tasks` names one for each row instead (None: the base alone), and all rows
        go through in one pass (DeBERTa: a pass for each task). `attention_mask` defaults to ones,
        `token_type_ids` to zeros. Raises InputError, TaskError.
        """
        if tasks is None:
            return self._run(inputs, self._tasks.resolve(task))
        if task is not ACTIVE:
            raise InputError(Code.INPUT_TASKS, "give task or tasks, not both")
        return self._mixed.run(*self._mixed.rows(inputs, tasks))

    def _run(self, inputs: Mapping[str, NDArray[Any]], decoded: DecodedTask | None) -> Output:
        feeds = self._base.checked(inputs)
        hidden, pooled = self._base.forward(feeds, {} if decoded is None else decoded.feeds)
        if decoded is None:
            return Output(None, hidden, pooled, None)
        logits = apply_head(decoded.head, hidden, feeds.get("attention_mask"), pooled)
        return Output(decoded.name, hidden, pooled, logits)
