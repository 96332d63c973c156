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

from osd_edge.errors import ModelError
from osd_edge.exporters.models.pickled_records import PickleError, read_pickle
from osd_edge.exporters.models.setfit_head import read_setfit_head

_FROM_BUFFER = np._core.numeric._frombuffer  # type: ignore[attr-defined]  # numpy's own
_FLOAT64 = np.dtype(np.float64)


class Called:
    """An object whose pickle calls `what` with `arguments`."""

    def __init__(self, what: Callable[..., Any], *arguments: Any) -> None:
        self._reduced = what, arguments

    def __reduce__(self) -> Any:
        return self._reduced


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
        [Called(np._core.multiarray.scalar, number, letters) for _ in range(2000)],  # type: ignore[attr-defined]
    ):
        assert "larger than a file" in refusal(tmp_path, pickle.dumps(made, protocol=4))


def test_endless_instructions(tmp_path: Path) -> None:
    assert "instructions" in refusal(tmp_path, pickle.dumps([[] for _ in range(2**20)]))


def test_keys_that_collide(tmp_path: Path) -> None:
    colliding = {i * (2**61 - 1): 0 for i in range(100)}
    assert "names and numbers" in refusal(tmp_path, pickle.dumps(colliding))


def test_an_array_that_is_built_and_remembered_over_and_over(tmp_path: Path) -> None:
    whole = pickle.dumps(np.arange(3.0), protocol=2)
    start, built = whole[: whole.index(b"(K\x01")], whole[whole.index(b"(K\x01") : -1]
    path = tmp_path / "model_head.pkl"
    program = start + b"".join(b"r" + (100 + i).to_bytes(4, "little") for i in range(2**17))
    path.write_bytes(program + built + b"j" + (100).to_bytes(4, "little") + b".")
    assert np.array_equal(read_pickle(path), np.arange(3.0))


# A head of torch


def head_of(tmp_path: Path, tensor: torch.Tensor | Called) -> str:
    """Why a SetFit head with this weight is refused."""
    fields = {"linear": _Parts({"_parameters": {"weight": tensor, "bias": None}})}
    head = _Parts({"_modules": fields, "temperature": 1.0, "eps": 0.0})
    data = pickle.dumps(head, protocol=2)
    name = f"{_Parts.__module__}\n{_Parts.__name__}".encode()
    (tmp_path / "model_head.pkl").write_bytes(data.replace(name, b"setfit.modeling\nSetFitHead"))
    with pytest.raises(ModelError) as refused:
        read_setfit_head(tmp_path)
    return str(refused.value)


class _Parts:
    """An object with these attributes."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)


def stored(values: torch.Tensor, *, as_zip: bool = False) -> Called:
    """A storage of torch, as its tensors have it pickled."""
    file = io.BytesIO()
    storage = values._typed_storage()  # type: ignore[no-untyped-call]
    torch.save(storage, file, _use_new_zipfile_serialization=as_zip)
    return Called(torch.storage._load_from_bytes, file.getvalue())


def rebuilt(storage: Called, offset: int, size: Any, stride: Any) -> Called:
    return Called(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})


def test_a_tensor_of_few_bytes_and_endless_numbers(tmp_path: Path) -> None:
    storage = stored(torch.zeros(4))
    for size, stride in (((2**20, 2**20), (0, 0)), ((2, 2), (0, 1)), ((2, 2), (1, 2))):
        assert "cannot be read" in head_of(tmp_path, rebuilt(storage, 0, size, stride))


def test_a_storage_in_a_zip_file_is_not_unpacked(tmp_path: Path) -> None:
    zipped = stored(torch.zeros(4), as_zip=True)
    assert "cannot be read" in head_of(tmp_path, rebuilt(zipped, 0, (2, 2), (2, 1)))


def test_numbers_that_float32_does_not_hold(tmp_path: Path) -> None:
    large = torch.full((2, 2), 1e300, dtype=torch.float64)
    assert "float32" in head_of(tmp_path, rebuilt(stored(large), 0, (2, 2), (2, 1)))
