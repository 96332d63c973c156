"""The classifier that SetFit puts behind an embedding model, from its `model_head.pkl`.

It is scikit-learn's logistic regression, several of them for several labels, or a linear layer of
torch. Each is y = W x + b with softmax or sigmoid over it, which a bundle's head computes too.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.kinds.labels import Labels
from osd_edge.exporters.kinds.multi_label import MultiLabel
from osd_edge.exporters.models.pickled_records import (
    MOST_BYTES,
    PERSISTENT,
    PickleError,
    Record,
    leading_pickles,
    read_pickle,
)

HEAD, SETTINGS = "model_head.pkl", "config_setfit.json"
# What comes of records that are not what their names say.
_MALFORMED = (
    *(AttributeError, LookupError, TypeError, ValueError),
    *(OverflowError, MemoryError, RecursionError),
)
_STORAGES = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in {"Half": "<f2", "Float": "<f4", "Double": "<f8"}.items()
}
_SEVERAL = ("OneVsRestClassifier", "MultiOutputClassifier")
_OTHERWISE = "--kind embedding exports its vectors without the classifier"


@dataclass(frozen=True)
class SetFitHead:
    """A linear classifier: `weight` `[labels, d]`, `bias` `[labels]`, its kind and labels.

    `normalized` says that it takes vectors of length 1.
    """

    kind: str
    weight: torch.Tensor
    bias: torch.Tensor
    labels: tuple[str, ...]
    normalized: bool


def is_setfit(folder: Path) -> bool:
    """Says whether `folder` holds a model of SetFit."""
    return (folder / HEAD).is_file() or (folder / SETTINGS).is_file()


def read_setfit_head(folder: Path) -> SetFitHead:
    """The classifier of the SetFit model in `folder`.

    Raises ModelError `model.head` where it cannot be read, or is none that a bundle can hold.
    """
    path = folder / HEAD
    try:
        record = read_pickle(path)
        kind, weight, bias, classes = _linear(record)
    except OSError as error:
        raise _refusal(folder, f"has no readable {HEAD}") from error
    except PickleError as error:
        raise _refusal(folder, f"has a {HEAD} that cannot be read: {error}") from error
    except _MALFORMED as error:
        raise _refusal(folder, f"has a {HEAD} of an unknown form") from error
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or not weight.size:
        raise _refusal(
            folder, f"has a classifier of shapes {list(weight.shape)} and {list(bias.shape)}"
        )
    with np.errstate(over="ignore"):
        weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise _refusal(folder, "has a classifier with numbers that float32 does not hold")
    names, normalized = _settings(folder)
    return SetFitHead(
        kind,
        torch.from_numpy(weight),
        torch.from_numpy(bias),
        _named(folder, classes, names, len(bias)),
        normalized,
    )


def _refusal(folder: Path, why: str) -> ModelError:
    return ModelError(Code.MODEL_HEAD, f"{folder} is a SetFit model and {why}; {_OTHERWISE}")


Linear = tuple[str, NDArray[Any], NDArray[Any], Sequence[Any] | None]


def _linear(record: Any) -> Linear:
    """Kind, weight, bias and classes; raises PickleError for what is no linear classifier."""
    name = record.made_by if isinstance(record, Record) else type(record).__name__
    *_, kind = name.split(".")
    if name.startswith("sklearn.linear_model.") and kind in (
        "LogisticRegression",
        "LogisticRegressionCV",
    ):
        return _logistic(record.fields)
    if name.startswith("sklearn.") and kind in _SEVERAL:
        return _several(record.fields)
    if name.startswith("setfit.") and kind == "SetFitHead":
        return _torch_layer(record.fields)
    raise PickleError(f"it holds a {shown(name, 80)}, which is not known")


def _logistic(fields: dict[str, Any]) -> Linear:
    """The numbers of scikit-learn's logistic regression, as what softmax is taken of.

    Of two classes it has one row, whose sigmoid is the chance of the second: softmax of half of it
    with either sign is the same.
    """
    weight, bias = _numbers(fields, "coef_"), _numbers(fields, "intercept_")
    classes = fields.get("classes_")
    if classes is None or not hasattr(classes, "__len__"):
        raise PickleError("its logistic regression has no classes")
    way = fields.get("multi_class", "auto")
    apart = way in ("ovr", "warn") or (way == "auto" and fields.get("solver") == "liblinear")
    if len(classes) > 2 and apart:
        raise PickleError("its classes were fitted one against the rest, so no softmax is theirs")
    if len(classes) == 2 and len(weight) == 1:
        share = 1.0 if way == "multinomial" else 0.5
        weight, bias = np.vstack([-weight, weight]) * share, np.hstack([-bias, bias]) * share
    if len(weight) != len(classes):
        raise PickleError(f"it has {len(classes)} classes and {len(weight)} rows")
    return Labels.name, weight, bias, list(classes)


def _several(fields: dict[str, Any]) -> Linear:
    """The rows of a logistic regression for each of several labels."""
    estimators = fields.get("estimators_")
    if not isinstance(estimators, list) or not estimators:
        raise PickleError("it has no classifier for any label")
    binarizer = fields.get("label_binarizer_")
    if isinstance(binarizer, Record) and binarizer.fields.get("y_type_") != "multilabel-indicator":
        raise PickleError("its classes were fitted one against the rest, so no softmax is theirs")
    weights, biases = [], []
    for one in estimators:
        name = one.made_by if isinstance(one, Record) else ""
        if not name.startswith("sklearn.linear_model.") or len(one.fields["classes_"]) != 2:
            raise PickleError("a label's classifier is no logistic regression that was fitted")
        if one.fields.get("multi_class") == "multinomial":
            raise PickleError("a label's chance is no sigmoid")
        weights.append(_numbers(one.fields, "coef_"))
        biases.append(_numbers(one.fields, "intercept_"))
        if weights[-1].ndim != 2 or (len(weights[-1]), biases[-1].shape) != (1, (1,)):
            raise PickleError("a label's classifier is not of one output")
        if len(estimators) * weights[-1].nbytes > MOST_BYTES:  # one may stand there many times
            raise PickleError("its classifiers are larger than a file of them may be")
    return MultiLabel.name, np.vstack(weights), np.hstack(biases), None


def _torch_layer(fields: dict[str, Any]) -> Linear:
    """The linear layer of SetFit's own head, over its temperature."""
    parameters = fields["_modules"]["linear"].fields["_parameters"]
    by = float(fields.get("temperature", 1.0)) + float(fields.get("eps", 1e-5))
    weight, given = _tensor(parameters["weight"]), parameters.get("bias")
    bias = np.zeros(len(weight)) if given is None else _tensor(given)
    kind = MultiLabel.name if fields.get("multitarget") else Labels.name
    return kind, weight / by, bias / by, None


def _tensor(record: Any) -> NDArray[np.float64]:
    """The numbers of a parameter of torch, of which no code is run."""
    if record.made_by == "torch._utils._rebuild_parameter":
        record = record.arguments[0]
    storage, offset, size, stride = record.arguments[:4]
    if record.made_by != "torch._utils._rebuild_tensor_v2" or not storage.made_by.endswith(
        "torch.storage._load_from_bytes"
    ):
        raise PickleError("a tensor in it is of an unknown form")
    values = _stored_numbers(storage.arguments[0])
    steps = [math.prod(size[at + 1 :]) for at in range(len(size))]
    # With a stride of 0 a few bytes would be endless numbers.
    in_order = all(n == 1 or own == step for n, own, step in zip(size, stride, steps, strict=True))
    count = math.prod(size)
    if not in_order or not 0 <= offset <= len(values) - count:
        raise PickleError("a tensor in it is no part of its storage, number after number")
    return values[offset : offset + count].reshape(size)


def _stored_numbers(data: bytes) -> NDArray[np.float64]:
    """The numbers of a storage as torch has it in a pickle: five pickles, their count, themselves.

    The pickles are two marks of the form, the system's facts, the storage's own and its key.
    """
    (*_, stored, _), rest = leading_pickles(data, 5)
    if stored.made_by != PERSISTENT:
        raise PickleError("a storage in it is of an unknown form")
    dtype = _STORAGES.get(stored.arguments[0][1].name)
    if dtype is None or len(rest) != 8 + int.from_bytes(rest[:8], "little") * dtype.itemsize:
        raise PickleError("a storage in it is of another size than its bytes, or no floats")
    return np.frombuffer(rest, dtype, offset=8).astype(np.float64)


def _numbers(fields: dict[str, Any], name: str) -> NDArray[np.float64]:
    array = fields.get(name)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise PickleError(f"it has no {name}: was it fitted?")
    return np.atleast_1d(array.astype(np.float64))


def _settings(folder: Path) -> tuple[list[str] | None, bool]:
    """Labels, where they are named, and whether vectors are of length 1."""
    path = folder / SETTINGS
    if not path.is_file():  # before version 1
        return None, False
    try:
        settings = json.loads(path.read_text("utf-8"))
        names = settings.get("labels")
        if not isinstance(names, list | None):
            raise TypeError("labels is no list")
        names = None if names is None else [str(name) for name in names]
        return names, bool(settings.get("normalize_embeddings"))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(Code.MODEL_HEAD, f"{path} is malformed") from error


def _named(
    folder: Path, classes: Sequence[Any] | None, names: list[str] | None, count: int
) -> tuple[str, ...]:
    """The label of each output: a class that is a text, or the name of that number."""
    if classes is not None and all(isinstance(one, str) for one in classes):
        return tuple(str(one) for one in classes)
    try:
        numbers = [int(one) for one in (range(count) if classes is None else classes)]
    except _MALFORMED as error:
        raise _refusal(folder, "has classes that are neither texts nor numbers") from error
    if names is None:
        return tuple(str(number) for number in numbers)
    if not all(0 <= number < len(names) for number in numbers) or (
        classes is None and len(names) != count
    ):
        raise _refusal(
            folder,
            f"names {len(names)} labels in {SETTINGS} for the outputs "
            f"{shown(', '.join(map(str, numbers)), 60)}",
        )
    return tuple(names[number] for number in numbers)
