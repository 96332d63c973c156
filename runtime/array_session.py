"""A session that takes arrays: tasks loaded and swapped over one base, token ids or pixels in."""

from pathlib import Path
from typing import NoReturn, Self, overload

from osd_edge.data.arguments import as_path, as_whole
from osd_edge.errors import Code, InputError
from osd_edge.formats.bundle.coded import forget_decoded
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.graph import MOST_THREADS, Memory
from osd_edge.runtime.inputs import RunInputs
from osd_edge.runtime.lifetime import Lifetime
from osd_edge.runtime.loaded_tasks import ACTIVE, TaskOrBase
from osd_edge.runtime.mixed import TaskNames
from osd_edge.runtime.output import MixedOutput, Output
from osd_edge.runtime.parts import Parts


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
        parts = Parts(self.folder, threads, memory, cache_bytes)
        self._manifest = parts.base.manifest
        self._lifetime = Lifetime(parts)

    @property
    def _parts(self) -> Parts:
        """The parts, which a call takes once. Raises TaskError `task.closed`, `task.fork`."""
        return self._lifetime.content

    def __enter__(self) -> Self:
        _ = self._parts  # a closed session is refused
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a session can be neither copied nor sent to another process: send its folder, and "
            "open an EdgeSession there"
        )

    def close(self) -> None:
        """Gives the memory back: the base, the loaded tasks, the tokenizer. Once more does nothing.

        Calls that have begun in other threads end as they would have, and the memory is given
        back after them. All later calls are refused (TaskError `task.closed`); `folder` and
        `manifest` remain. A `with` block closes its session at its end.

        Example:
            >>> from osd_edge import TaskError
            >>> with EdgeSession("minilm") as session:
            ...     session.load("mr.osd.safetensors")
            'mr'
            >>> try:
            ...     session.activate("mr")
            ... except TaskError as error:
            ...     print(error.code)
            task.closed
        """
        self._lifetime.close()
        forget_decoded()  # of the task that was read last, where none has run since

    @property
    def manifest(self) -> BaseManifest:
        """The manifest of the base package: family, inputs, layers that tasks change, and so on.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.manifest.family, session.manifest.inputs
            ('bert', ('input_ids', 'attention_mask', 'token_type_ids'))
        """
        return self._manifest

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
        return self._parts.tasks.names

    @property
    def active(self) -> str | None:
        """Name of the active task, None where there is none.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.activate(session.load("mr.osd.safetensors"))
            >>> session.active
            'mr'
        """
        return self._parts.tasks.active

    def kind(self, name: str) -> str:
        """Tells of which kind a loaded task is.

        Args:
            name: a loaded task.

        Returns:
            `labels`, `multi-label`, `regression`, `token-labels`, `spans`, `embedding` or
            `generate`.

        Raises:
            TaskError: `task.unknown` where no such task is loaded.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.kind(session.load("ner.osd.safetensors"))
            'token-labels'
        """
        return self._parts.tasks.kind(name)

    def labels(self, name: str) -> tuple[str, ...]:
        """Names the labels of a loaded task.

        Args:
            name: a loaded task.

        Returns:
            The labels in the order of the task's logits; none for an embedding, or for text.

        Raises:
            TaskError: `task.unknown` where no such task is loaded.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.labels(session.load("mr.osd.safetensors"))
            ('negative', 'positive')
        """
        return self._parts.tasks.labels(name)

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
        return self._parts.tasks.load(as_path(path, "path"), name)

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
        self._parts.tasks.activate(name)

    def deactivate(self) -> None:
        """Returns to the base: runs give what they gave before any task, bit for bit.

        Example:
            >>> session = EdgeSession("minilm")
            >>> session.activate(session.load("mr.osd.safetensors"))
            >>> session.deactivate()
            >>> session.active is None
            True
        """
        self._parts.tasks.deactivate()

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
        parts = self._parts
        parts.tasks.unload(name)
        parts.mixed.forget()

    @overload
    def run(self, inputs: RunInputs, task: TaskOrBase = ACTIVE) -> Output: ...

    @overload
    def run(self, inputs: RunInputs, *, tasks: TaskNames) -> MixedOutput: ...

    def run(
        self,
        inputs: RunInputs,
        task: TaskOrBase = ACTIVE,
        *,
        tasks: TaskNames | None = None,
    ) -> Output | MixedOutput:
        """Runs a batch of token ids or pixels through the base, with one task or one for each row.

        With `tasks` all rows go through in one pass (over a DeBERTa base, a pass for each task).

        Args:
            inputs: integers `[batch, tokens]`, as arrays or lists of lists: `input_ids`, and
                `attention_mask` (ones unless given; True and False do too) and `token_type_ids`
                (zeros unless given) where the base takes them; or finite floats `pixel_values`
                `[batch, channels, height, width]`.
            task: a loaded task, for this run only; None for the base alone; unless given, the
                active task, or the base alone where there is none.
            tasks: a loaded task for each row, or None for the base alone.

        Returns:
            Hidden states and logits: an `Output`, or with `tasks` a `MixedOutput`.

        Raises:
            InputError: `input.names`, `input.shape` or `input.run` for inputs that the base does
                not take, `input.tasks` where there is not one task for each row.
            TaskError: `task.unknown` where no such task is loaded, `task.not-finite` where its
                logits hold NaN or infinity.
            BaseError: `base.graph` where the base alone gives NaN or infinity. Padding may hold
                either.

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
        parts = self._parts
        if tasks is None:
            return parts.run(inputs, parts.tasks.resolve(task))
        if task is not ACTIVE:
            raise InputError(Code.INPUT_TASKS, "give task or tasks, not both")
        rows = parts.mixed.rows(tasks)
        return parts.mixed.run(parts.mixed.checked(inputs, rows), rows)
