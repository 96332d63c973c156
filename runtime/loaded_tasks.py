"""The loaded tasks of a session: all of them coded, the latest used decoded too, one active."""

import enum
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from osd_edge.data.arguments import described
from osd_edge.errors import Code, TaskError, shown
from osd_edge.formats.bundle.coded import forget_decoded
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.reader import (
    read_bundle,
    read_bundle_bytes,
    refusals_of,
    stored_kind,
    stored_labels,
)
from osd_edge.formats.limits import task_name
from osd_edge.formats.named_bundle import RENAME, of_one_name
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.decoded_tasks import DecodedTasks
from osd_edge.runtime.stacked_factors import Rows
from osd_edge.runtime.task import DecodedTask, decode_task


class _Active(enum.Enum):
    TASK = "the active task"


ACTIVE = _Active.TASK
NamedTask = str | Literal[_Active.TASK]  # a loaded task's name, or the one that is active
TaskOrBase = NamedTask | None  # None: the base alone


class LoadedTasks:
    """Tasks by name, and which of them is active. Safe to use from many threads.

    An idle task is the bytes of its file, checked when it was loaded, and nothing else. Decoded
    tasks are kept, the latest used first, within `cache_bytes`.
    """

    def __init__(self, manifest: BaseManifest, cache_bytes: int) -> None:
        """Begins without tasks, for the base that `manifest` describes."""
        self._manifest = manifest
        self._lock = threading.Lock()
        self._files: dict[str, bytes] = {}
        self._paths: dict[str, Path] = {}  # where they were, for messages
        self._decoded = DecodedTasks(cache_bytes)
        self._fresh: tuple[str, Bundle] | None = None  # read just now, likely to be used next
        self._active: DecodedTask | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The loaded tasks, in the order they were loaded."""
        with self._lock:
            return tuple(self._files)

    @property
    def active(self) -> str | None:
        """The active task, None where there is none."""
        active = self._active
        return None if active is None else active.name

    def labels(self, name: str) -> tuple[str, ...]:
        """The labels of a task. Raises TaskError `task.unknown`."""
        with self._lock:
            return stored_labels(self._file(name))

    def kind(self, name: str) -> str:
        """The name of a task's kind. Raises TaskError `task.unknown`."""
        with self._lock:
            return stored_kind(self._file(name))

    def load(self, path: Path, name: str | None) -> str:
        """Keeps the bundle at `path`, under its own name unless `name` is given; gives the name.

        Raises BundleError where the file is damaged or made for another base, InputError
        `input.task-name` where `name` cannot name a task, TaskError `task.taken`, `task.needs`.
        """
        data = read_bundle_bytes(path)
        with refusals_of(path):
            bundle = read_bundle(data)
        check_fits(bundle, self._manifest)
        name = bundle.task if name is None else task_name(name)
        with self._lock:
            if name in self._files:
                raise TaskError(
                    Code.TASK_TAKEN,
                    f"{of_one_name(name, self._paths[name], path)}: {RENAME}, in Python with "
                    "load(path, name), or unload the other first",
                )
            self._files[name], self._paths[name] = data, path
            self._fresh = (name, bundle)
        return name

    def unload(self, name: str) -> None:
        """Forgets a task, and deactivates it if it is active. Raises TaskError `task.unknown`."""
        with self._lock:
            self._file(name)
            self._decoded.forget(name)
            if self._fresh is not None and self._fresh[0] == name:
                self._forget_fresh()
            del self._files[name], self._paths[name]
            if self._active is not None and self._active.name == name:
                self._active = None

    def activate(self, name: str) -> None:
        """Makes a task the active one. Raises TaskError `task.unknown`."""
        with self._lock:
            self._active = self._ready(name)

    def deactivate(self) -> None:
        """Leaves no task active."""
        with self._lock:
            self._active = None

    def resolve(self, task: TaskOrBase) -> DecodedTask | None:
        """Decodes the task that is meant, unless it is decoded; None for the base alone.

        Raises TaskError `task.unknown`.
        """
        if task is ACTIVE:
            return self._active  # one reference: whole, whatever other threads do
        if task is None:
            return None
        with self._lock:
            return self._ready(task)

    def rows(self, names: Sequence[str | None]) -> Rows:
        """Decodes the tasks of a batch's rows. Raises TaskError `task.unknown`."""
        with self._lock:
            for name in names:
                if name is not None:
                    self._file(name)
            # Each name once: a cache smaller than the batch's tasks decodes none of them twice.
            ready = {name: self._ready(name) for name in dict.fromkeys(names) if name is not None}
        return tuple(None if name is None else ready[name] for name in names)

    def _ready(self, name: str) -> DecodedTask:
        self._file(name)
        return self._decoded.get(name, lambda: self._decode(name))

    def _decode(self, name: str) -> DecodedTask:
        data = self._file(name)
        fresh = self._fresh
        bundle = fresh[1] if fresh is not None and fresh[0] == name else read_bundle(data)
        task = replace(decode_task(name, bundle, self._manifest), source=data)
        self._forget_fresh()
        return task

    def _file(self, name: str) -> bytes:
        if not isinstance(name, str):
            raise TaskError(
                Code.TASK_UNKNOWN, f"expected the name of a loaded task, found {described(name)}"
            )
        if name not in self._files:
            loaded = shown(", ".join(self._files), 200) or "none"
            raise TaskError(
                Code.TASK_UNKNOWN,
                f"no task {shown(repr(name))} is loaded (loaded: {loaded}): load it, or "
                "name one of them",
            )
        return self._files[name]

    def _forget_fresh(self) -> None:
        self._fresh = None
        forget_decoded()
