"""The size from which a model is too large to be in memory whole, or twice."""

import math

from osd_edge.exporters.models.backbone import Backbone

LARGE = 200_000_000  # parameters: from here on a second copy in float32 takes a gigabyte


def is_large(backbone: Backbone) -> bool:
    """Says whether weights are read when they are used, and finished layers are kept in files."""
    return sum(math.prod(shape) for shape in backbone.parameters.values()) >= LARGE
