"""Gives what a report says of the models that a task was made from."""

from typing import Any

from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.adapted_checkpoint import AdaptedCheckpoint
from osd_edge.exporters.models.adapter_base import other_bases
from osd_edge.exporters.models.head_plan import kind_unsaid


def origin(source: Source, options: TaskOptions) -> dict[str, Any]:
    """The fields of TaskReport that are about the base, the model and its adapters."""
    models = source.models
    base, tuned = models.backbone.checkpoint, models.tuned
    adapted = tuned if isinstance(tuned, AdaptedCheckpoint) else None
    return {
        "adapter_size": adapted and adapted.adapter_bytes,
        "adapter_bases": other_bases(base, options.base, adapted.named_bases) if adapted else (),
        "likeness": models.likeness.figures,
        "foreign": not models.likeness.fine_tuned,
        "kind_unsaid": options.kind is None and kind_unsaid(tuned, models.head),
    }
