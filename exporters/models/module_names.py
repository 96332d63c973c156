"""Names of modules: those in a checkpoint, which everything here is called by, and torch's own.

A model class may name its modules otherwise than the checkpoints of its family do, and then
translates while it loads them: transformers 5 does so for ViT. Which bundle fits which base hangs
on the names in checkpoints, so they do not change with the library.
"""

import re
from typing import Any

from osd_edge.exporters.models.families import Family


def checkpoint_name(family: Family, name: str) -> str:
    """The name in checkpoints of the module or tensor `name` of a backbone in memory.

    A name that the family's `modules` do not match is the same in both.
    """
    for own, stored in family.modules.items():
        found = re.match(re.escape(own).replace(r"\*", r"(\d+)") + r"(?=\.|$)", name)
        if found:
            for number in found.groups():
                stored = stored.replace("*", number, 1)
            return stored + name[found.end() :]
    return name


def module_paths(family: Family, model: Any) -> dict[str, str]:
    """The path in the backbone `model` of each of its modules, by the name in checkpoints."""
    return {checkpoint_name(family, path): path for path, _ in model.named_modules()}
