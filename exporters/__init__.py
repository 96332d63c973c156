"""The workstation side: models in, a base package and task bundles out.

What is in `__all__` is the public face; every other module of this package is private to it. Names
are imported when they are used, so that the package itself loads without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osd_edge.exporters.base_package import export_base
    from osd_edge.exporters.many_tasks import export_tasks
    from osd_edge.exporters.methods.budget import Budget
    from osd_edge.exporters.methods.head_options import HeadOptions
    from osd_edge.exporters.methods.options import TaskOptions
    from osd_edge.exporters.methods.report import TaskReport
    from osd_edge.exporters.task import TaskExporter, export_task

__all__ = [
    "Budget",
    "HeadOptions",
    "TaskExporter",
    "TaskOptions",
    "TaskReport",
    "export_base",
    "export_task",
    "export_tasks",
]

_WHERE = {
    "Budget": "methods.budget",
    "HeadOptions": "methods.head_options",
    "TaskExporter": "task",
    "TaskOptions": "methods.options",
    "TaskReport": "methods.report",
    "export_base": "base_package",
    "export_task": "task",
    "export_tasks": "many_tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
