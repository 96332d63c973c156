"""A session holds the package that it opened, whatever happens to the folder."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osd_edge.errors import BaseError
from osd_edge.formats.package import open_folder
from osd_edge.formats.package.manifest import MODEL, TOKENIZER, WEIGHTS
from osd_edge.runtime import EdgeSession, open_base
from tests.support.packages import copied, listed_anew

IDS = {"input_ids": np.array([[4, 5, 6, 7]])}
TEXT = ["the cat sat"]


@pytest.fixture
def first(tiny_base: Path, tmp_path: Path) -> Path:
    return copied(tiny_base, tmp_path / "first")


@pytest.fixture
def second(first: Path, tmp_path: Path) -> Path:
    """A package of the same sizes, with other weights and another vocabulary."""
    other = copied(first, tmp_path / "second")
    weights = np.fromfile(other / WEIGHTS, np.float32)
    (weights[::-1] / 2).tofile(other / WEIGHTS)
    text = (other / TOKENIZER).read_text()
    swapped = text.replace('"cat"', '"\0"').replace('"mat"', '"cat"').replace('"\0"', '"mat"')
    assert text != swapped
    (other / TOKENIZER).write_text(swapped)
    fields = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(fields | {"fingerprint": "ab" * 32}, indent=1))
    listed_anew(other)
    return other


def answers(session: EdgeSession) -> tuple[str, list[int], bytes]:
    """Gives the base that a session says it has, and the ids and hidden states that show it."""
    hidden = session.run(IDS).hidden
    return (
        session.manifest.fingerprint,
        session.encode(TEXT)["input_ids"][0].tolist(),
        hidden.tobytes(),
    )


def exchange(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def test_the_tokenizer_is_that_of_the_folder_that_was_opened(first: Path, second: Path) -> None:
    expected = answers(EdgeSession(first, threads=1))
    session = EdgeSession(first, threads=1)
    exchange(first, second)
    assert answers(session) == expected
    assert answers(EdgeSession(first, threads=1)) != expected
    session = EdgeSession(second, threads=1)
    shutil.rmtree(second)
    assert answers(session) == expected


def test_a_tokenizer_of_other_bytes_is_refused_at_opening(first: Path) -> None:
    file = first / TOKENIZER
    file.write_bytes(file.read_bytes().replace(b'"cat"', b'"cot"'))
    with pytest.raises(BaseError) as refusal:
        EdgeSession(first, threads=1)
    assert refusal.value.code == "base.digest"


@pytest.fixture(params=["held", "named"])
def by_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether folders are opened by name, as where the system cannot hold one."""
    if request.param == "named":
        monkeypatch.setattr(open_folder, "_HELD", Path("no-such-folder"))
    return bool(request.param == "named")


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, step: str, change: Callable[[int], object]
) -> list[int]:
    """Has `change` happen before a step of opening, told which time it is; lists the times."""
    usual: Any = getattr(open_base, step)
    times: list[int] = []

    def changed(*given: Any, **named: Any) -> Any:
        times.append(len(times))
        change(times[-1])
        return usual(*given, **named)

    monkeypatch.setattr(open_base, step, changed)
    return times


STEPS = ["manifest_of", "check_graph_file", "open_graph", "kept_tokenizer"]


@pytest.mark.parametrize("step", STEPS)
def test_a_folder_that_is_exchanged_while_it_is_opened(
    first: Path, second: Path, by_name: bool, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two is opened, all of it is."""
    either = [answers(EdgeSession(package, threads=1)) for package in (first, second)]
    assert either[0][0] != either[1][0] and either[0][1:] != either[1][1:]
    meanwhile(monkeypatch, step, lambda time: exchange(first, second) if time == 0 else None)
    session = EdgeSession(first, threads=1)
    monkeypatch.undo()
    assert answers(session) in either


@pytest.mark.parametrize("step", STEPS)
def test_a_folder_that_is_replaced_and_removed_while_it_is_opened(
    first: Path, second: Path, by_name: bool, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(EdgeSession(second, threads=1))

    def replace(time: int) -> None:
        if time == 0:
            shutil.rmtree(first)
            second.rename(first)

    meanwhile(monkeypatch, step, replace)
    assert answers(EdgeSession(first, threads=1)) == expected


@pytest.mark.parametrize("name", [WEIGHTS, MODEL, "manifest.json", TOKENIZER])
def test_a_file_that_is_written_to_while_it_is_opened(
    first: Path, by_name: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened again at first, and then refused, since it never comes to rest."""
    expected = answers(EdgeSession(first, threads=1))
    file = first / name
    data = file.read_bytes()

    def write(time: int) -> None:
        if time < most:
            file.write_bytes(data)
            os.utime(file, ns=(time, time))

    most = 2
    times = meanwhile(monkeypatch, "open_graph", write)
    assert answers(EdgeSession(first, threads=1)) == expected
    assert times == [0, 1, 2]
    times.clear()
    most = 99
    with pytest.raises(BaseError) as refusal:
        EdgeSession(first, threads=1)
    assert refusal.value.code == "base.file" and "while it is opened" in str(refusal.value)


def test_no_folder_stays_open(first: Path) -> None:
    numbers = Path("/dev/fd")
    before = sorted(numbers.iterdir())
    session = EdgeSession(first, threads=1)
    (first / MODEL).unlink()
    with pytest.raises(BaseError):
        EdgeSession(first, threads=1)
    assert sorted(numbers.iterdir()) == before
    assert session.tasks == ()


@pytest.mark.parametrize("memory", ["default", "low"])
def test_weights_that_are_written_to_in_place_are_noticed(
    first: Path, second: Path, memory: Any
) -> None:
    session = EdgeSession(first, threads=1, memory=memory)
    expected = answers(session)
    weights = first / WEIGHTS
    data = weights.read_bytes()
    with weights.open("r+b") as file:
        file.write((second / WEIGHTS).read_bytes())
    for _ in range(2):
        with pytest.raises(BaseError) as refusal:
            session.run(IDS)
        assert refusal.value.code == "base.digest" and "rename" in str(refusal.value)
    os.truncate(weights, 0)  # a run would now end the process
    for run in (lambda: session.run(IDS), lambda: session.run(IDS, tasks=[None])):
        with pytest.raises(BaseError) as refusal:
            run()
        assert refusal.value.code == "base.file"
    weights.write_bytes(data)
    assert answers(session) == expected


def test_weights_that_are_written_to_and_given_their_old_time_are_noticed(
    first: Path, second: Path
) -> None:
    session = EdgeSession(first, threads=1, memory="low")
    weights = first / WEIGHTS
    times = weights.stat()
    with weights.open("r+b") as file:
        file.write((second / WEIGHTS).read_bytes())
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(BaseError) as refusal:
        session.run(IDS)
    assert refusal.value.code == "base.digest"


def test_weights_that_are_touched_or_replaced_are_as_good_as_before(
    first: Path, second: Path
) -> None:
    session = EdgeSession(first, threads=1, memory="low")
    expected = answers(session)
    os.utime(first / WEIGHTS)
    assert answers(session) == expected
    (second / WEIGHTS).rename(first / WEIGHTS)
    assert answers(session) == expected
    (first / WEIGHTS).unlink()
    assert answers(session) == expected
