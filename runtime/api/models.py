"""The models of the API: the tasks by their names, and the base alone where it writes text."""

import time
from typing import Any

from osd_edge.errors import ApiError, Code, InputError, shown
from osd_edge.formats.limits import task_name
from osd_edge.runtime.session import EdgeSession


class Models:
    """Names of models, as a request's `model` has them."""

    def __init__(self, session: EdgeSession, base_name: str | None) -> None:
        """Takes the tasks that a session has loaded, and the base's name, else its folder's.

        Raises InputError `input.task-name` for a name of the base that is none, or a task's too.
        """
        self._session = session
        self._tasks = session.tasks
        self._base = self._base_name(base_name)
        self._began = int(time.time())

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the base's first."""
        return self._tasks if self._base is None else (self._base, *self._tasks)

    def task(self, model: str) -> str | None:
        """The task of that name, None for the base alone. Raises ApiError `api.model`."""
        if model not in self.names:
            names = ", ".join(self.names) or "none: the server has no tasks"
            message = f"model: expected one of {names}, found {shown(model)!r}"
            raise ApiError(Code.API_MODEL, message)
        return None if model == self._base else model

    def entry(self, model: str) -> dict[str, Any]:
        """The model as a list of models has it, with its kind. Raises ApiError `api.model`."""
        task = self.task(model)
        kind = "generate" if task is None else self._session.kind(task)
        return {
            "id": model,
            "object": "model",
            "created": self._began,
            "owned_by": "osd-edge",
            "kind": kind,
        }

    def listed(self) -> dict[str, Any]:
        """The list of all models."""
        return {"object": "list", "data": [self.entry(name) for name in self.names]}

    def _base_name(self, given: str | None) -> str | None:
        if self._session.manifest.generation is None:
            if given is not None:
                raise InputError(
                    Code.INPUT_TASK_NAME, "this base writes no text: it needs no name of its own"
                )
            return None
        name = self._session.folder.resolve().name if given is None else given
        try:
            task_name(name)
        except InputError as error:
            raise InputError(error.code, f"{error}: give the base a name by --base-name") from error
        if name in self._tasks:
            raise InputError(
                Code.INPUT_TASK_NAME,
                f"{name!r} is a task's name and the base's: give the base another by --base-name",
            )
        return name
