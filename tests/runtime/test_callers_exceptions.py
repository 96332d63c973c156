"""Exceptions of the caller's own, such as a time-out, that come while a library runs."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from tokenizers import Tokenizer

from osd_edge.data.raised_by import raised_by
from osd_edge.errors import BaseError, InputError
from osd_edge.runtime import EdgeSession
from tests.support import tiny


class TimeUpError(Exception):
    """An exception of a program's own."""


TYPES = [TimeUpError, TimeoutError, RuntimeError, ValueError, Exception, MemoryError, SystemExit]


@pytest.fixture
def session(tiny_base: Path, tiny_bundles: tuple[Path, Path]) -> EdgeSession:
    session = EdgeSession(tiny_base, threads=1)
    session.activate(session.load(tiny_bundles[0]))
    session.classify(["a cat"])
    return session


@pytest.fixture
def interrupted() -> Iterator[Callable[[type[BaseException], Callable[[], object]], None]]:
    """Calls something again and again, and raises an exception in it by a signal's handler."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("there are no timers by signals on Windows")
    usual = signal.getsignal(signal.SIGALRM)

    def run(kind: type[BaseException], call: Callable[[], object]) -> None:
        def handler(*_: object) -> None:
            raise kind("time is up")

        signal.signal(signal.SIGALRM, handler)
        while True:  # Python swallows what is raised in a finalizer: then it comes again
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            end = time.monotonic() + 1
            while time.monotonic() < end:
                call()

    yield run
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, usual)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("what", ["run", "encode", "classify"])
def test_an_exception_of_a_signal_handler_passes_through(
    what: str,
    kind: type[BaseException],
    session: EdgeSession,
    interrupted: Callable[[type[BaseException], Callable[[], object]], None],
) -> None:
    inputs, texts = {"input_ids": np.ones((8, 60), np.int64)}, tiny.sentences(30, seed=4)
    calls: dict[str, Callable[[], object]] = {
        "run": lambda: session.run(inputs),
        "encode": lambda: session.encode(texts),
        "classify": lambda: session.classify(texts[:4]),
    }
    for _ in range(5):
        with pytest.raises(kind, match="time is up") as raised:
            interrupted(kind, calls[what])
        assert type(raised.value) is kind
    assert session.run(inputs).hidden.shape == (8, 60, 32)  # and nothing stays locked
    assert session.encode(["a cat"])["input_ids"].shape == (1, 4)


def handler_raises(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


@pytest.mark.parametrize("kind", TYPES)
def test_it_passes_wherever_in_the_libraries_it_comes(
    kind: type[BaseException], session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = kind("time is up")
    parts = session._parts
    monkeypatch.setattr(parts.base, "_ort", Fake(run=handler_raises(own)))
    with pytest.raises(kind) as raised:
        session.run({"input_ids": np.ones((1, 3), np.int64)})
    assert raised.value is own
    fake = Fake(no_truncation=handler_raises(own), enable_truncation=handler_raises(own))
    monkeypatch.setattr(parts.encoder, "_tokenizer", fake)
    with pytest.raises(kind) as raised:
        session.encode(["a cat"])
    assert raised.value is own


class Fake:
    """An object with the methods that it is given."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        vars(self).update(methods)


@pytest.mark.parametrize("system_call", ["open", "fstat", "stat", "readlink"])
def test_a_time_out_passes_where_errors_of_files_are_expected(
    system_call: str,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler may raise at any call to the system: none takes it for the system's own error."""
    usual, given = getattr(os, system_call), []

    def interrupt(at: int) -> Callable[..., Any]:
        left = [at]

        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                given.append(at)
                raise TimeoutError("time is up")
            return usual(*arguments, **named)

        return call

    def once() -> None:
        session = EdgeSession(tiny_base, threads=1)
        session.load(tiny_bundles[0])
        session.run({"input_ids": np.ones((1, 3), np.int64)})

    for at in range(1, 40):
        monkeypatch.setattr(os, system_call, interrupt(at))
        try:
            once()
        except TimeoutError as error:
            assert str(error) == "time is up"
        else:
            assert given[-1:] != [at], "swallowed"
        monkeypatch.setattr(os, system_call, usual)


def test_an_exception_that_another_thread_sets_passes_through(session: EdgeSession) -> None:
    """Libraries of time-outs set it so: it comes between two lines, without a handler."""
    import ctypes

    inputs = {"input_ids": np.ones((8, 60), np.int64)}
    main = threading.get_ident()

    def set_exception() -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(main), ctypes.py_object(TimeUpError)
        )

    for _ in range(10):
        timer = threading.Timer(0.02, set_exception)
        timer.start()
        with pytest.raises(TimeUpError):
            while True:
                session.run(inputs)
        timer.join()


def test_what_the_libraries_raise_is_still_refused_with_a_code(
    session: EdgeSession, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for inputs in (
        {"input_ids": np.full((1, 3), 10**6)},
        {"input_ids": np.ones((1, 65), np.int64)},
    ):
        with pytest.raises(InputError) as refusal:
            session.run(inputs)
        assert refusal.value.code == "input.run"
    monkeypatch.setattr(session._parts.base, "checked", lambda inputs: inputs)
    odd: list[dict[str, Any]] = [
        {"input_ids": np.ones((1, 3), np.float32)},
        {"input_ids": [object()]},
    ]
    for wrong in odd:
        with pytest.raises(InputError) as refusal:
            session.run(wrong)
        assert refusal.value.code == "input.run"
    with pytest.raises(BaseError) as base:
        session._parts.encoder.encodings([3])
    assert base.value.code == "base.text"


def of_onnxruntime(path: Path) -> Any:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("library", "call"),
    [
        ("onnxruntime", lambda base: of_onnxruntime(base / "no-such.onnx")),
        ("onnxruntime", lambda base: of_onnxruntime(base / "manifest.json")),
        ("onnxruntime", lambda base: of_onnxruntime(base / "model.onnx").run(None, {})),
        ("onnxruntime", lambda base: of_onnxruntime(base / "model.onnx").run(["x"], {"x": 3})),
        ("tokenizers", lambda base: Tokenizer.from_file(str(base / "no-such.json"))),
        ("tokenizers", lambda base: Tokenizer.from_file(str(base / "manifest.json"))),
        ("tokenizers", lambda base: Tokenizer.from_file(str(base / "tokenizer.json")).encode(3)),
        ("numpy", lambda base: np.asarray([[1], [1, 2]])),
    ],
)
def test_a_librarys_exception_is_known(
    library: str, call: Callable[[Path], object], tiny_base: Path
) -> None:
    with pytest.raises(Exception) as raised:  # of what type is the libraries' own
        call(tiny_base)
    error = raised.value
    call_itself = raised.tb.tb_next
    assert call_itself is not None
    if library == "onnxruntime":  # past the helper that opens it
        call_itself = call_itself.tb_next or call_itself
    error.__traceback__ = call_itself
    assert raised_by(library, error)
