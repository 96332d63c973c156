"""The choice of the linear layers of a backbone that take part."""

import fnmatch
from collections.abc import Sequence

from osd_edge.errors import Code, InputError
from osd_edge.exporters.models.backbone import Backbone


def choose_sites(backbone: Backbone, globs: Sequence[str]) -> frozenset[str]:
    """Module paths of the linear layers that any of `globs` matches, e.g. `*.attention.*`.

    Raises InputError `input.sites` where a glob matches none.
    """
    names = [layer.name for layer in backbone.layers]
    for glob in globs:
        if not fnmatch.filter(names, glob):
            raise InputError(
                Code.INPUT_SITES,
                f"no linear layer matches {glob!r}; one of them is {names[0]!r}",
            )
    return frozenset(name for glob in globs for name in fnmatch.filter(names, glob))
