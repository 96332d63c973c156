"""Finds the files that a checkpoint's weights are in: those that transformers reads.

Of several in a folder it takes the one that the configuration names (`transformers_weights`), else
`model.safetensors`, else the parts that `model.safetensors.index.json` lists. Other files that lie
beside them are not looked at: variants, torch's pickles, what an earlier save left.
"""

import json
from pathlib import Path

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.folders_below import is_inside
from osd_edge.exporters.models.unreadable import why_unreadable

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
# What lies in folders without the files above, in the order in which it is told.
_OTHERS = {
    "model-*-of-*.safetensors": f"parts without {_INDEX}, which says what belongs to the model: "
    "copy it from where the model came from",
    "model.*.safetensors": "a variant of the weights: load it with from_pretrained(..., "
    "variant=...) and save it again",
    "consolidated*.safetensors": "weights under the names of their maker's own code: take the "
    "folder's files in transformers' form, or convert them",
    "pytorch_model*.bin": "torch's older form: load it and save it again, with transformers 4 by "
    "save_pretrained(..., safe_serialization=True)",
    "*.safetensors": "no name that transformers reads weights from",
    "*.h5": "TensorFlow's weights: from_pretrained(..., from_tf=True) of transformers 4, and save "
    "it again",
}


def weight_files(folder: Path, named: object = None) -> list[Path]:
    """The files with the weights in `folder`; `named` is the one that its configuration names.

    Raises ModelError `model.weights` where there is none, or a list of parts is malformed.
    """
    if named is not None:
        return _named(folder, named)
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if (folder / _INDEX).is_file():
        return _parts(folder / _INDEX)
    for pattern, what in _OTHERS.items():
        found = sorted(folder.glob(pattern))
        if found:
            raise ModelError(
                Code.MODEL_WEIGHTS,
                f"{folder} has no {_SINGLE}, but {shown(found[0].name, 60)}: {what}",
            )
    raise ModelError(
        Code.MODEL_WEIGHTS, f"{folder} has no {_SINGLE}: save the model there by save_pretrained"
    )


def _named(folder: Path, named: object) -> list[Path]:
    """The file of a configuration's `transformers_weights`, which must be one of the folder's."""
    if not isinstance(named, str) or Path(named).name != named:
        raise ModelError(
            Code.MODEL_WEIGHTS,
            f"{folder}: transformers_weights in config.json is {shown(repr(named), 60)}, expected "
            "the name of a file beside it",
        )
    path = folder / named
    return _parts(path) if named.endswith(".index.json") else [path]


def _parts(index: Path) -> list[Path]:
    """The weight files that `index` lists."""
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        if not all(isinstance(name, str) for name in names):
            raise TypeError("weight_map does not map tensors to names of files")
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(
            Code.MODEL_WEIGHTS, f"{index} is malformed: {why_unreadable(index, error)}"
        ) from error
    outside = sorted(name for name in names if not (is_inside(name) and Path(name).name))
    if outside:
        raise ModelError(
            Code.MODEL_WEIGHTS,
            f"{index} lists {shown(repr(outside[0]), 60)}, expected files in the model's folder",
        )
    return [index.parent / name for name in sorted(names)]
