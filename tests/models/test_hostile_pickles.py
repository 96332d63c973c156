"""Pickles that would take memory far beyond their size, or for ever, are refused at once."""

import _codecs
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier

from osd_edge.errors import ModelError
from osd_edge.exporters.models.pickled_records import PickleError, read_pickle
from osd_edge.exporters.models.setfit_head import SetFitHead, read_setfit_head

# numpy's own, whichever release has them where.
_FROM_BUFFER: Any = np.arange(1.0).__reduce_ex__(5)[0]
_SCALAR: Any = np.float64(1).__reduce__()[0]
_FLOAT64 = np.dtype(np.float64)


class Called:
    """An object whose pickle calls `what` with `arguments`."""

    def __init__(self, what: Callable[..., Any], *arguments: Any) -> None:
        self.what, self.arguments = what, arguments

    def __reduce__(self) -> Any:
        return self.what, self.arguments


def refusal(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "model_head.pkl"
    path.write_bytes(data)
    with pytest.raises(PickleError) as refused:
        read_pickle(path)
    return str(refused.value)


def test_a_name_of_endless_tuples(tmp_path: Path) -> None:
    nested = b"\x80\x04)" + b"q\x00h\x00\x86" * 60  # a tuple of it twice, sixty times
    for end in (b"\x8c\x01a\x93.", b"q\x00h\x00\x93."):
        assert "no text" in refusal(tmp_path, nested + end)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(Called(_FROM_BUFFER, 2**33, _FLOAT64, (2**30,), "C"), id="a number as bytes"),
        pytest.param(Called(_FROM_BUFFER, b"", _FLOAT64, (2**2000,) * 5000, "C"), id="a shape"),
        pytest.param(Called(_FROM_BUFFER, b"", _FLOAT64, (2**60, 0), "C"), id="an empty array"),
    ],
)
def test_an_array_of_no_bytes(tmp_path: Path, made: Called) -> None:
    assert "array of" in refusal(tmp_path, pickle.dumps(made, protocol=4))


def test_bytes_that_are_made_of_shared_ones(tmp_path: Path) -> None:
    text, data, letters, number = "x" * 2**20, bytes(2**20), bytes(39996), np.dtype("U9999")
    for made in (
        [Called(_codecs.encode, text, "latin1") for _ in range(80)],
        [Called(_FROM_BUFFER, data, np.dtype("u1"), (2**20,), "C") for _ in range(80)],
        [Called(_SCALAR, number, letters) for _ in range(2000)],
    ):
        assert "larger than a file" in refusal(tmp_path, pickle.dumps(made, protocol=4))


def test_endless_instructions(tmp_path: Path) -> None:
    assert "instructions" in refusal(tmp_path, pickle.dumps([[] for _ in range(2**20)]))


def test_keys_that_collide(tmp_path: Path) -> None:
    colliding = {i * (2**61 - 1): 0 for i in range(100)}
    assert "names and numbers" in refusal(tmp_path, pickle.dumps(colliding))


def test_numbers_below_zero_are_keys_too(tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({-1: 1.0, 1: 2.0}))
    assert read_pickle(path) == {-1: 1.0, 1: 2.0}


def test_an_array_that_is_built_and_remembered_over_and_over(tmp_path: Path) -> None:
    whole = pickle.dumps(np.arange(3.0), protocol=2)
    start, built = whole[: whole.index(b"(K\x01")], whole[whole.index(b"(K\x01") : -1]
    path = tmp_path / "model_head.pkl"
    program = start + b"".join(b"r" + (100 + i).to_bytes(4, "little") for i in range(2**17))
    path.write_bytes(program + built + b"j" + (100).to_bytes(4, "little") + b".")
    assert np.array_equal(read_pickle(path), np.arange(3.0))


# A head of torch


def write_head(tmp_path: Path, tensor: torch.Tensor | Called) -> SetFitHead:
    """A SetFit head with this weight, as it is read."""
    fields = {"linear": _Parts({"_parameters": {"weight": tensor, "bias": None}})}
    head = _Parts({"_modules": fields, "temperature": 1.0, "eps": 0.0})
    data = pickle.dumps(head, protocol=2)
    name = f"{_Parts.__module__}\n{_Parts.__name__}".encode()
    (tmp_path / "model_head.pkl").write_bytes(data.replace(name, b"setfit.modeling\nSetFitHead"))
    return read_setfit_head(tmp_path)


def head_of(tmp_path: Path, tensor: torch.Tensor | Called) -> str:
    """Why a SetFit head with this weight is refused."""
    with pytest.raises(ModelError) as refused:
        write_head(tmp_path, tensor)
    return str(refused.value)


class _Parts:
    """An object with these attributes."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)


def stored(values: torch.Tensor, *, as_zip: bool = False) -> Called:
    """A storage of torch, as its tensors have it pickled."""
    file = io.BytesIO()
    reduced: Any = values
    _, (storage, *_) = reduced.__reduce_ex__(2)
    torch.save(storage, file, _use_new_zipfile_serialization=as_zip)
    return Called(torch.storage._load_from_bytes, file.getvalue())


def rebuilt(storage: Called, offset: int, size: Any, stride: Any) -> Called:
    return Called(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (2**20, 2**20), (0, 0)),
        (0, (2, 2), (0, 1)),
        (0, (2, 2), (1, 2)),
        (2, (2, 2), (2, 1)),
        (-2, (2, 1), (1, 1)),
    ],
)
def test_a_tensor_that_is_no_part_of_its_storage(
    tmp_path: Path, offset: int, size: Any, stride: Any
) -> None:
    storage = stored(torch.zeros(4))
    assert "no part of its storage" in head_of(tmp_path, rebuilt(storage, offset, size, stride))


def test_a_storage_in_a_zip_file_is_not_unpacked(tmp_path: Path) -> None:
    zipped = stored(torch.zeros(4), as_zip=True)
    assert head_of(tmp_path, rebuilt(zipped, 0, (2, 2), (2, 1)))


@pytest.mark.parametrize("end", [b"", (2**28).to_bytes(8, "little"), bytes(7)])
def test_a_storage_without_its_numbers(tmp_path: Path, end: bytes) -> None:
    """torch would make as many numbers as the storage names, of whatever was in memory."""
    storage = stored(torch.zeros(4))
    data = storage.arguments[0][: -16 - 8] + end
    made = Called(torch.storage._load_from_bytes, data)
    assert "of another size" in head_of(tmp_path, rebuilt(made, 0, (2, 2), (2, 1)))


def test_a_parameter_of_parameters_without_end(tmp_path: Path) -> None:
    made = rebuilt(stored(torch.zeros(4)), 0, (2, 2), (2, 1))
    for _ in range(50):
        made = Called(torch._utils._rebuild_parameter, made, True, {})
    assert "unknown form" in head_of(tmp_path, made)


@pytest.mark.parametrize("of", [torch.float16, torch.float32, torch.float64])
def test_a_weight_is_what_torch_has(tmp_path: Path, of: torch.dtype) -> None:
    weight = torch.arange(12, dtype=of).reshape(3, 4) / 7
    head = write_head(tmp_path, torch.nn.Parameter(weight[1:], requires_grad=False))
    assert torch.equal(head.weight, weight[1:].float())


def test_a_classifier_of_one_label_is_of_one_output(tmp_path: Path) -> None:
    """One that stands there many times is in the file but once."""
    one = LogisticRegression()
    one.coef_, one.intercept_ = np.ones((1, 1)), np.ones(2**20, np.float16)
    one.classes_ = np.array([0, 1])
    several = MultiOutputClassifier(one)
    several.estimators_ = [one] * 200
    (tmp_path / "model_head.pkl").write_bytes(pickle.dumps(several))
    with pytest.raises(ModelError, match="not of one output"):
        read_setfit_head(tmp_path)


def test_numbers_that_float32_does_not_hold(tmp_path: Path) -> None:
    large = torch.full((2, 2), 1e300, dtype=torch.float64)
    assert "float32" in head_of(tmp_path, rebuilt(stored(large), 0, (2, 2), (2, 1)))
