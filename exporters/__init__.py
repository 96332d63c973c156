"""The workstation side: models in, a base package and task bundles out."""

from osd_edge.exporters.base_package import export_base
from osd_edge.exporters.head import HeadOptions
from osd_edge.exporters.many_tasks import export_tasks
from osd_edge.exporters.report import TaskReport
from osd_edge.exporters.task_bundle import TaskExporter, export_task

__all__ = [
    "HeadOptions",
    "TaskExporter",
    "TaskReport",
    "export_base",
    "export_task",
    "export_tasks",
]
