"""Settings that transformers 4 and 5 keep in different places, brought to where both are read.

Neither says so where it does not find them: it takes its defaults, and computes something else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.families import Family
from osd_edge.exporters.models.library_version import TRANSFORMERS

_FULL, _SLIDING = "full_attention", "sliding_attention"


def take_other_settings(
    folder: Path, config: Any, fields: Mapping[str, Any], family: Family
) -> None:
    """Give `config`, read from the file's `fields`, what another version of the library wrote.

    Raises ModelError `model.config` for what the installed version cannot compute.
    """
    for name, path in family.moved_settings.items():
        value = _at(fields, path)
        if value is None:  # a file of version 4, which version 5 has rearranged
            value = _at(config.to_dict(), path)
        if value is not None:
            setattr(config, name, value)
    if "layer_types" in family.settings:
        _take_layer_types(folder, config, fields)
    if "rope_parameters" in family.settings:
        _take_rope(folder, config, fields, family)


def _take_layer_types(folder: Path, config: Any, fields: Mapping[str, Any]) -> None:
    """Layers that see all tokens: version 5 lists them, version 4 has every so many."""
    given = fields.get("layer_types")
    if TRANSFORMERS >= 5 or not hasattr(config, "global_attn_every_n_layers"):
        return
    count, every = config.num_hidden_layers, config.global_attn_every_n_layers
    if given is not None:
        found = (n for n in range(1, count + 1) if _types(count, n) == given)
        every = next(found, None)
        if every is None:
            raise _not_computed(folder, f"layer_types {given}")
        config.global_attn_every_n_layers = every
    config.layer_types = _types(count, every)


def _take_rope(folder: Path, config: Any, fields: Mapping[str, Any], family: Family) -> None:
    """Rotary positions: version 4 has theta and scaling, each a setting of its own."""
    given = fields.get("rope_parameters")
    if TRANSFORMERS >= 5:
        if isinstance(config.rope_parameters, dict):
            config.rope_parameters.pop("type", None)  # rope_type is beside it, its newer name
        return
    if "rope_scaling" in family.settings:
        _take_rope_scaling(folder, config, given)
        return
    for one in given.values() if isinstance(given, Mapping) else ():
        if not isinstance(one, Mapping) or set(one) - {"rope_theta", "rope_type"}:
            raise _not_computed(folder, "rope_parameters")
        if one.get("rope_type", "default") != "default":
            raise _not_computed(folder, f"rope_type {one['rope_type']}")
    config.rope_parameters = None


def _take_rope_scaling(folder: Path, config: Any, given: Any) -> None:
    """Positions stretched as `given` says, which is how version 5 has it, for version 4."""
    config.rope_parameters = None
    parameters = getattr(config, "rope_scaling", None)
    if isinstance(given, Mapping):
        sliding = given.get(_SLIDING, {})
        if not isinstance(sliding, Mapping) or _scaling(sliding) is not None:
            raise _not_computed(folder, f"rope_parameters of {_SLIDING} {sliding}")
        parameters = given.get(_FULL, given)
    config.rope_scaling = _scaling(parameters) if isinstance(parameters, Mapping) else None


def _scaling(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stretching of positions, each part by one name; None where there is none."""
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    others = ("rope_theta", "partial_rotary_factor", "type", _FULL, _SLIDING)
    rest = {name: value for name, value in parameters.items() if name not in others}
    return None if kind == "default" else rest | {"rope_type": kind}


def _types(count: int, every: int) -> list[str]:
    return [_SLIDING if i % every else _FULL for i in range(count)]


def _not_computed(folder: Path, what: str) -> ModelError:
    return ModelError(
        Code.MODEL_CONFIG,
        f"{folder}: config.json has {what[:80]}, which transformers {transformers.__version__} "
        "does not compute: install transformers 5",
    )


def _at(fields: Any, path: str) -> Any:
    """The value at `a.b.c` in nested mappings; None where there is none."""
    for name in path.split("."):
        fields = fields.get(name) if isinstance(fields, Mapping) else None
    return fields
