"""A cache of decoded tasks, the latest used first."""

from collections import OrderedDict
from collections.abc import Callable

from osd_edge.runtime.task import DecodedTask


class DecodedTasks:
    """Decoded tasks by name, within `cache_bytes`; the very latest is always kept.

    So run after run of one task decodes it once, however large it is. Not safe to use from many
    threads.
    """

    def __init__(self, cache_bytes: int) -> None:
        """Begins empty."""
        self._cache_bytes = cache_bytes
        self._tasks: OrderedDict[str, DecodedTask] = OrderedDict()

    def get(self, name: str, decode: Callable[[], DecodedTask]) -> DecodedTask:
        """Gives the task called `name`, by `decode` where it is not kept, as the latest used."""
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = decode()
        self._tasks.move_to_end(name)
        while (
            len(self._tasks) > 1
            and sum(kept.nbytes for kept in self._tasks.values()) > self._cache_bytes
        ):
            self._tasks.popitem(last=False)
        return task

    def forget(self, name: str) -> None:
        """Lets go of a task, where it is kept."""
        self._tasks.pop(name, None)
