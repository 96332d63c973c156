"""A session that takes arrays: tasks loaded and swapped over one base, token ids or pixels in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from numpy.typing import NDArray

from osd_edge.data.arguments import as_path, as_whole
from osd_edge.errors import Code, InputError
from osd_edge.formats.heads import apply_head
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.graph import MOST_THREADS, Memory
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
        self.folder = as_path(base, "base")
        threads = as_whole(threads, "threads", 0, MOST_THREADS)
        cache_bytes = as_whole(cache_bytes, "cache_bytes")
        self._base = OpenBase(self.folder, threads, memory)
        self._tasks = LoadedTasks(self.manifest, cache_bytes)
        self._mixed = MixedBatches(self._base, self._tasks, cache_bytes)

    @property
    def manifest(self) -> BaseManifest:
        """The manifest of the base package: family, inputs, layers that tasks change, and so on.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.manifest.family, session.manifest.inputs
            ('bert', ('input_ids', 'attention_mask', 'token_type_ids'))
        """
        return self._base.manifest

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the loaded tasks, in the order they were loaded.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.load("mr.osd.safetensors"), session.load("trec.osd.safetensors")
            ('mr', 'trec')
            >>> session.tasks
            ('mr', 'trec')
        """
        return self._tasks.names

    @property
    def active(self) -> str | None:
        """Name of the active task, None where there is none.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.activate(session.load("mr.osd.safetensors"))
            >>> session.active
            'mr'
        """
        return self._tasks.active

    def kind(self, name: str) -> str:
        """Tells of which kind a loaded task is.

        Args:
            name: a loaded task.

        Returns:
            `labels`, `multi-label`, `regression`, `token-labels`, `spans` or `embedding`.

        Raises:
            TaskError: `task.unknown` where no such task is loaded.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.kind(session.load("ner.osd.safetensors"))
            'token-labels'
        """
        return self._tasks.kind(name)

    def labels(self, name: str) -> tuple[str, ...]:
        """Names the labels of a loaded task.

        Args:
            name: a loaded task.

        Returns:
            The labels in the order of the task's logits; none for an embedding.

        Raises:
            TaskError: `task.unknown` where no such task is loaded.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.labels(session.load("mr.osd.safetensors"))
            ('negative', 'positive')
        """
        return self._tasks.labels(name)

    def load(self, path: str | Path, name: str | None = None) -> str:
        """Checks a task bundle, every byte of it, and keeps it; the active task stays as it is.

        The file may go afterwards: its bytes are held, and decoded when the task is first used.

        Args:
            path: the bundle, a `.osd.safetensors` file.
            name: the name to load the task by, in the place of the bundle's own.

        Returns:
            The name of the loaded task.

        Raises:
            BundleError: the file is damaged, of an unknown version, or made for another base.
            InputError: `input.task-name` where `name` cannot name a task, `input.path` for a path
                that is none.
            TaskError: `task.taken` where a task of the name is loaded, `task.needs` where the task
                needs what this runtime cannot do.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.load("mr.osd.safetensors"), session.load("mr.osd.safetensors", "reviews")
            ('mr', 'reviews')
        """
        return self._tasks.load(as_path(path, "path"), name)

    def activate(self, name: str) -> None:
        """Makes a loaded task the one that runs use. This is the swap: no session is rebuilt.

        Args:
            name: a loaded task.

        Raises:
            TaskError: `task.unknown` where no such task is loaded, `task.range` where the base
                takes fp16 factors and the task's are too large for them.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.activate(session.load("mr.osd.safetensors"))
            >>> session.run({"input_ids": np.array([[2, 5, 3]])}).task
            'mr'
        """
        self._tasks.activate(name)

    def deactivate(self) -> None:
        """Returns to the base: runs give what they gave before any task, bit for bit.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.activate(session.load("mr.osd.safetensors"))
            >>> session.deactivate()
            >>> session.active is None
            True
        """
        self._tasks.deactivate()

    def unload(self, name: str) -> None:
        """Forgets a loaded task, and deactivates it if it is active.

        Runs of the task that have begun in other threads end as they would have.

        Args:
            name: a loaded task.

        Raises:
            TaskError: `task.unknown` where no such task is loaded.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.unload(session.load("mr.osd.safetensors"))
            >>> session.tasks
            ()
        """
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
        """Runs a batch of token ids or pixels through the base, with one task or one for each row.

        With `tasks` all rows go through in one pass (over a DeBERTa base, a pass for each task).

        Args:
            inputs: integers `[batch, tokens]`: `input_ids`, and `attention_mask` (ones unless
                given) and `token_type_ids` (zeros unless given) where the base takes them; or
                floats `pixel_values` `[batch, channels, height, width]`.
            task: a loaded task, for this run only; None for the base alone; unless given, the
                active task, or the base alone where there is none.
            tasks: a loaded task for each row, or None for the base alone.

        Returns:
            Hidden states and logits: an `Output`, or with `tasks` a `MixedOutput`.

        Raises:
            InputError: `input.names`, `input.shape` or `input.run` for inputs that the base does
                not take, `input.tasks` where there is not one task for each row.
            TaskError: `task.unknown` where no such task is loaded.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.load("mr.osd.safetensors"), session.load("trec.osd.safetensors")
            ('mr', 'trec')
            >>> inputs = {"input_ids": np.array([[2, 5, 6, 3], [2, 7, 8, 3]])}
            >>> session.run(inputs, task="mr").logits.shape  # [batch, labels]
            (2, 2)
            >>> [row.shape for row in session.run(inputs, tasks=["mr", "trec"]).logits]
            [(2,), (3,)]
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
