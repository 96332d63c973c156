"""The refusal of a graph in which a layer cannot be proved, and what to do about it."""

from osd_edge.errors import Code, ModelError


def unproved(found: str) -> ModelError:
    """Makes the refusal `model.graph`; `found` says what the graph has, or lacks."""
    return ModelError(
        Code.MODEL_GRAPH,
        f"{found}: the export is not to be trusted. Try another --tracer; where none does, report "
        "it with what 'osd-edge doctor' prints",
    )
