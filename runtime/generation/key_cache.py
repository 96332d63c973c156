"""The contract of a key cache: the keys and values of earlier tokens, for the rows of a batch."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.heads import Floats
from osd_edge.formats.package.generation import Generation
from osd_edge.runtime.open_base import Arrays, OpenBase


class KeyCache(ABC):
    """Keys and values for rows of tokens, and the runs that make more of them.

    Rows are filled one after the other, behind those that are there, and go on together a token at
    a time. Factors of tasks are given at every run, of as many rows as it has, or of one for all.
    Not safe to use from several threads at once.

    Attributes:
        lengths: How many tokens of each row have keys; a row comes in with its first.
        most: The most tokens that a row will have.
    """

    def __init__(self, base: OpenBase, rows: int, most: int) -> None:
        """Begins without keys, for `rows` or more; a row will have `most` tokens at most."""
        facts = base.manifest.generation
        assert facts is not None
        self._base = weakref.ref(base)
        self.facts: Generation = facts
        self.past, self.present = facts.past, facts.present  # names, of which each run takes all
        self.most = most
        self._rows = rows
        self.lengths: list[int] = []

    @property
    def base(self) -> OpenBase:
        """The base, which whoever asks for a run holds: a session that is closed lets go of it."""
        base = self._base()
        assert base is not None
        return base

    @abstractmethod
    def fill(self, first: int, tokens: Sequence[Sequence[int]], factors: Arrays) -> Floats:
        """Runs the next tokens of rows `first` and after, and gives logits at each one's last.

        The rows are new, of any lengths each; or it is one row, which goes on.
        Gives `[rows, vocabulary]`, valid until the next run. Raises InputError `input.run`.
        """

    @abstractmethod
    def step(self, tokens: Sequence[int], factors: Arrays) -> Floats:
        """Runs one more token of each of the first rows, as many as there are `tokens`.

        Gives logits `[rows, vocabulary]`, as `fill` does. `factors` are told from those of the step
        before by being another object.
        """

    @abstractmethod
    def keep(self, rows: Sequence[int]) -> None:
        """Keeps these rows, which then have the numbers from 0 on in the order given here."""

    @abstractmethod
    def forget(self, first: int) -> None:
        """Forgets the rows from `first` on, which were filled last, where there are any."""

    def limit(self, most: int) -> None:
        """Changes the most tokens that a row will have, of which none has more."""
        self.most = most

    def release(self) -> None:  # noqa: B027  # most hold no run between two
        """Holds no run any more, and so neither its factors nor the base."""

    @abstractmethod
    def cut(self, length: int) -> None:
        """Forgets what the one row has beyond its first `length` tokens.

        No run is held afterwards, and so neither its task nor the base.
        """

    @abstractmethod
    def state(self) -> Floats:
        """The keys and values of the one row: `[layers · 2, heads, length, size]`."""

    @abstractmethod
    def restore(self, state: Floats) -> None:
        """Takes for the one row what `state` gave."""


def padded(tokens: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Makes ids and a mask `[rows, longest]` of rows of tokens, padded on the right."""
    longest = max(map(len, tokens))
    ids = np.zeros((len(tokens), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, own in enumerate(tokens):
        ids[row, : len(own)] = own
        mask[row, : len(own)] = 1
    return ids, mask
