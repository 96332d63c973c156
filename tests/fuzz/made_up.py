"""Made-up readers, each with one thing wrong: what the fuzzer has to find."""

import os
import signal
import time
from pathlib import Path
from random import Random

import numpy as np

from fuzz.outcome import ACCEPTED, Observed
from fuzz.targets.target import Reader, Target
from osd_edge.errors import BundleError, Code, InputError


def seeds() -> list[bytes]:
    return [b"fine", b"good", b"long"]


def mutate(noise: Random, data: bytes, other: bytes) -> bytes:
    return noise.choice((data, other, b"bad", b"wrong"))


def opened(folder: Path) -> Reader:
    return run


def run(data: bytes) -> Observed:
    """Does as the input says."""
    if data == b"ends":
        os.kill(os.getpid(), signal.SIGKILL)
    if data == b"slow":
        begun = time.process_time()
        while time.process_time() < begun + 0.6:
            sum(range(1000))
    if data == b"endless":
        while True:
            sum(range(1000))
    if data == b"large":
        np.ones(1 << 26, np.int8)
    if data == b"huge":
        bytearray(1 << 36)
    if data == b"talks":
        os.write(1, b"a banner")
        os.write(2, b", and more")
    if data == b"index":
        return Observed(str([][1]))
    if data == b"kind":
        raise InputError(Code.INPUT_TEXTS, "no kind of this target's")
    if data == b"escape":
        raise BundleError(Code.BUNDLE_HEAD, "\x1b[2J")
    if data == b"bad":
        raise BundleError(Code.BUNDLE_HEAD, "refused as it ought to be")
    return Observed(ACCEPTED, (data,))


def mutate_to_end(noise: Random, data: bytes, other: bytes) -> bytes:
    return noise.choice((data, other, b"ends", *(b"%d" % i for i in range(20))))


KINDS = frozenset({"bundle"})
SOUND = Target("sound", seeds, mutate, opened, KINDS, share=1, inputs=1, seconds=0.4)
ENDING = Target("ending", seeds, mutate_to_end, opened, KINDS, share=1, inputs=1)
