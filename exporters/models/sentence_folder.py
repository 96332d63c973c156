"""Reads the JSON files of a sentence-transformers folder, as releases since the first wrote them.

`modules.json` lists the stages: the transformer, in the folder itself or in one of its own (such as
`0_Transformer`, as the first releases wrote it), a pooling, and perhaps more.
"""

import json
from pathlib import Path
from typing import Any

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.folders_below import is_inside

STAGES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
# Of the transformer's stage: version 2 looked for one by the model's architecture.
_TRANSFORMER = (
    "sentence_bert_config.json",
    *(
        f"sentence_{name}_config.json"
        for name in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
)


def is_sentence_folder(folder: Path) -> bool:
    """Says whether `folder` is a model of sentence-transformers, by its list of stages."""
    return (folder / STAGES).is_file()


def stages(folder: Path) -> list[dict[str, Any]]:
    """The stages that `folder` lists, each with its class (`type`) and its folder (`path`).

    Raises ModelError `model.head` where there is no such list, or one that is malformed.
    """
    path = folder / STAGES
    listed = read_json(path)
    if not isinstance(listed, list) or not all(
        isinstance(stage, dict)
        and isinstance(stage.get("type"), str)
        and isinstance(stage.get("path"), str)
        and is_inside(stage["path"])
        for stage in listed
    ):
        raise ModelError(Code.MODEL_HEAD, f"{path} is malformed")
    return listed


def transformer_folder(folder: Path) -> Path:
    """The folder of the transformer in a model's `folder`: that one itself, or the first stage's.

    Raises ModelError `model.head` for a malformed list of stages.
    """
    if not is_sentence_folder(folder):
        return folder
    listed = stages(folder)
    own = folder / str(listed[0]["path"]) if listed else folder
    return own if own.is_dir() else folder


def transformer_settings(folder: Path) -> dict[str, Any]:
    """The settings of the transformer's stage, whose folder this is; none without a file."""
    found = next((folder / name for name in _TRANSFORMER if (folder / name).is_file()), None)
    return {} if found is None else read_object(found)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in the file at `path`; raises ModelError `model.head`."""
    read = read_json(path)
    if not isinstance(read, dict):
        raise ModelError(
            Code.MODEL_HEAD, f"{path}: expected a JSON object, found {shown(repr(read), 40)}"
        )
    return read


def read_json(path: Path) -> Any:
    """The JSON in the file at `path`; raises ModelError `model.head`."""
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{path.parent} has no head for a task, and no {path.name} that would make it an "
            "embedding model of sentence-transformers",
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(Code.MODEL_HEAD, f"{path} is not JSON") from error
