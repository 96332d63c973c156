"""One input within its bounds: what is no refusal is a finding, and says which."""

import resource
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.guard import Guard
from fuzz.outcome import Fault
from tests.fuzz.made_up import SOUND


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    """A guard of the made-up reader; what it sets in the process is put back."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.getsignal(signal.SIGPROF)
    with warnings.catch_warnings():
        guard = Guard(SOUND, tmp_path)
        yield guard
        guard.close()
    signal.signal(signal.SIGPROF, handler)
    resource.setrlimit(resource.RLIMIT_AS, limits)


def test_what_is_decoded_or_refused_with_a_declared_code_is_none(guard: Guard) -> None:
    assert guard.outcome(b"fine").code == "accepted"
    refusal = guard.outcome(b"bad")
    assert refusal.code == "bundle.head"
    guard.check_memory(b"fine")


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (b"index", "IndexError at no line of ours"),
        (b"kind", "refused with input.texts, of none of the kinds declared"),
        (b"escape", "the message of bundle.head is long, or not printable"),
        (b"slow", "takes too long"),
        (b"endless", "takes too long"),
        (b"huge", "MemoryError at no line of ours"),
        (b"talks", "writes to the terminal"),
    ],
)
def test_whatever_else_happens_is_a_finding(data: bytes, title: str, guard: Guard) -> None:
    with pytest.raises(Fault) as finding:
        guard.outcome(data)
    assert finding.value.title == title


def test_what_is_written_to_the_terminal_is_told_and_not_shown(
    guard: Guard, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Fault) as finding:
        guard.outcome(b"talks")
    assert finding.value.detail == "a banner, and more"
    assert capfd.readouterr() == ("", "")


def test_memory_beyond_what_the_size_bears_is_a_finding(guard: Guard) -> None:
    guard.outcome(b"large")  # of the address space there is enough
    with pytest.raises(Fault, match="takes too much memory"):
        guard.check_memory(b"large")
