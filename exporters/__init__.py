"""The workstation side: models in, a base package and task bundles out.

What is in `__all__` is the public face; every other module of this package is private to it. Names
are imported when they are used, so that the package itself loads without torch.

>>> from osd_edge.exporters import export_base, export_task
>>> manifest = export_base("base", "minilm")
>>> report = export_task("base", "tuned", "mr.osd.safetensors", budget="3KiB")
>>> manifest.family, report.task
('bert', 'mr')
"""

from typing import TYPE_CHECKING

from osd_edge.on_demand import import_on_demand

if TYPE_CHECKING:
    from osd_edge.exporters.base_options import BaseOptions
    from osd_edge.exporters.base_package import export_base
    from osd_edge.exporters.many_tasks import export_tasks
    from osd_edge.exporters.methods.budget import Budget
    from osd_edge.exporters.methods.gain import CurvePoint
    from osd_edge.exporters.methods.head_options import HeadOptions
    from osd_edge.exporters.methods.options import TaskOptions
    from osd_edge.exporters.methods.report import TaskReport
    from osd_edge.exporters.scoring.familiar_rows import RowFamiliarity
    from osd_edge.exporters.scoring.score import Score
    from osd_edge.exporters.task import TaskExporter, export_task

__all__ = [
    "BaseOptions",
    "Budget",
    "CurvePoint",
    "HeadOptions",
    "RowFamiliarity",
    "Score",
    "TaskExporter",
    "TaskOptions",
    "TaskReport",
    "export_base",
    "export_task",
    "export_tasks",
]

if not TYPE_CHECKING:  # else type checkers would take any name for one of this module
    _WHERE = {
        "BaseOptions": "base_options",
        "Budget": "methods.budget",
        "CurvePoint": "methods.gain",
        "HeadOptions": "methods.head_options",
        "RowFamiliarity": "scoring.familiar_rows",
        "Score": "scoring.score",
        "TaskExporter": "task",
        "TaskOptions": "methods.options",
        "TaskReport": "methods.report",
        "export_base": "base_package",
        "export_task": "task",
        "export_tasks": "many_tasks",
    }
    __getattr__, __dir__ = import_on_demand(__name__, _WHERE)
