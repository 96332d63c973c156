"""The loaded tasks of a session: all of them coded, the latest used decoded too."""

from collections import OrderedDict
from pathlib import Path

from osd_edge.errors import Code, TaskError
from osd_edge.formats.bundle.coded import forget_decoded
from osd_edge.formats.bundle.model import Bundle, task_name
from osd_edge.formats.bundle.reader import (
    read_bundle,
    read_bundle_bytes,
    refusals_of,
    stored_kind,
    stored_labels,
)
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.task import DecodedTask, decode_task


class LoadedTasks:
    """Tasks by name. Not safe to use from many threads: the session holds a lock.

    An idle task is the bytes of its file, checked when it was loaded, and nothing else. Decoded
    tasks are kept, the latest used first, within `cache_bytes`; the very latest always is, so
    that run after run of one task decodes it once.
    """

    def __init__(self, manifest: BaseManifest, cache_bytes: int) -> None:
        """Begin without tasks, for the base that `manifest` describes."""
        self._manifest = manifest
        self._cache_bytes = cache_bytes
        self._files: dict[str, bytes] = {}
        self._decoded: OrderedDict[str, DecodedTask] = OrderedDict()
        self._fresh: tuple[str, Bundle] | None = None  # read just now, likely to be used next

    @property
    def names(self) -> tuple[str, ...]:
        """The loaded tasks, in the order they were loaded."""
        return tuple(self._files)

    def add(self, name: str, data: bytes, bundle: Bundle) -> None:
        """Keep the file `data`, of which `bundle` was read. Raises TaskError `task.taken`."""
        if name in self._files:
            raise TaskError(Code.TASK_TAKEN, f"a task {name!r} is loaded: unload it first")
        self._files[name] = data
        self._fresh = (name, bundle)

    def labels(self, name: str) -> tuple[str, ...]:
        """Labels of a task. Raises TaskError `task.unknown`."""
        return stored_labels(self._file(name))

    def kind(self, name: str) -> str:
        """Kind of a task's head. Raises TaskError `task.unknown`."""
        return stored_kind(self._file(name))

    def remove(self, name: str) -> None:
        """Forget a task. Raises TaskError `task.unknown`."""
        self._file(name)
        self._decoded.pop(name, None)
        if self._fresh is not None and self._fresh[0] == name:
            self._forget_fresh()
        del self._files[name]

    def decoded(self, name: str) -> DecodedTask:
        """A task ready to run, from the cache or decoded now. Raises TaskError `task.unknown`."""
        task = self._decoded.get(name)
        if task is None:
            data = self._file(name)
            fresh = self._fresh
            bundle = fresh[1] if fresh is not None and fresh[0] == name else read_bundle(data)
            task = self._decoded[name] = decode_task(name, bundle, self._manifest)
            self._forget_fresh()
        self._decoded.move_to_end(name)
        while (
            len(self._decoded) > 1
            and sum(d.nbytes for d in self._decoded.values()) > self._cache_bytes
        ):
            self._decoded.popitem(last=False)
        return task

    def _file(self, name: str) -> bytes:
        if name not in self._files:
            loaded = ", ".join(self._files) or "none"
            raise TaskError(Code.TASK_UNKNOWN, f"no task {name!r} is loaded (loaded: {loaded})")
        return self._files[name]

    def _forget_fresh(self) -> None:
        self._fresh = None
        forget_decoded()


def read_for(path: Path, name: str | None, manifest: BaseManifest) -> tuple[str, bytes, Bundle]:
    """The name, the bytes and the checked bundle of the file `path`.

    Raises BundleError where the file is damaged or made for another base than `manifest`'s,
    InputError `input.task-name` where `name` cannot name a task.
    """
    data = read_bundle_bytes(path)
    with refusals_of(path):
        bundle = read_bundle(data)
    check_fits(bundle, manifest)
    return bundle.task if name is None else task_name(name), data, bundle
