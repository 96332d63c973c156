"""The workstation side: models in, a base package and task bundles out."""

from osd_edge.exporters.base_package import export_base
from osd_edge.exporters.many_tasks import export_tasks
from osd_edge.exporters.methods.report import TaskReport
from osd_edge.exporters.methods.stored.head import HeadOptions
from osd_edge.exporters.task import TaskExporter, export_task

__all__ = [
    "HeadOptions",
    "TaskExporter",
    "TaskReport",
    "export_base",
    "export_task",
    "export_tasks",
]
