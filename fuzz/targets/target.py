"""A target: one reader, what it is fed, and what it may do with an input."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.limits import SECONDS_BESIDE
from fuzz.mutators import Mutator
from fuzz.mutators.octets import mutate_octets
from fuzz.outcome import Observed

Reader = Callable[[bytes], Observed]


@dataclass(frozen=True)
class Target:
    """A reader to be tried.

    `opened` prepares it in the process that is to run it, with a folder for its files, and gives
    what runs one input. That raises OsdEdgeError with a code of `kinds`; whatever else it raises is
    a finding.

    `seconds` of processor time are allowed beside what the input's size is, `headroom` bytes of
    address space beside what the process has when it is ready. `counted`: whether Python sees the
    reader's memory, so that it can be held to the input's size. `talks`: whether it may write to
    the terminal. `twin` names the reader in JavaScript that gets the same inputs.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    mutate: Mutator
    opened: Callable[[Path], Reader]
    kinds: frozenset[str]
    share: float  # of the time
    inputs: float  # share of the inputs, where these are what is counted
    seconds: float = SECONDS_BESIDE
    headroom: int = 1 << 30
    counted: bool = True
    talks: bool = False
    twin: str | None = None

    def mutant(self, noise: Random, data: bytes, other: bytes) -> bytes:
        """Gives a mutant of `data`: by its structure, unless that nests deeper than Python goes."""
        try:
            return self.mutate(noise, data, other)
        except RecursionError:
            return mutate_octets(noise, data, other)
