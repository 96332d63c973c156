"""Gives tensors the names that transformers gives them, whatever stood around the model.

A model that is saved while it is wrapped has the wrapper's name in that of each tensor: torch's
compiler puts `_orig_mod.` there, at any depth, DataParallel `module.` in front of all.
"""

from collections.abc import Collection

# Modules that stand around another one and are no part of the model.
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
PARALLEL = "module."  # before all else in a name
# The names of the two vectors of a LayerNorm in old BERT checkpoints.
_RENAMED = {".gamma": ".weight", ".beta": ".bias"}


def plain_names(stored: Collection[str]) -> dict[str, str]:
    """The plain name of each of a model's tensors, by the name that it is stored under."""
    return {key: _renamed(name) for key, name in unwrapped(stored).items()}


def unwrapped(stored: Collection[str]) -> dict[str, str]:
    """The name of each of `stored` without those of wrappers; `module.` must begin all of them."""
    names = {key: without_wrappers(key) for key in stored}
    around = min(map(_depth, names.values()), default=0) * len(PARALLEL)
    return {key: name[around:] for key, name in names.items()}


def without_wrappers(name: str) -> str:
    """The name without the parts that modules around others have put there."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _depth(name: str) -> int:
    """The number of times that `module.` stands before the name."""
    parts = name.split(".")
    return next((at for at, part in enumerate(parts) if f"{part}." != PARALLEL), len(parts) - 1)


def _renamed(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name
