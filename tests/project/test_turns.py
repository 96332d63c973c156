"""Tests of two processes take turns, so that one that must be alone is."""

import time
from pathlib import Path
from threading import Thread

from tests.support.turns import turn


def test_a_turn_that_is_alone_has_no_other_beside_it(tmp_path: Path) -> None:
    present: set[int] = set()
    seen: dict[int, set[int]] = {}

    def take(name: int, *, alone: bool) -> None:
        with turn(tmp_path, alone=alone):
            present.add(name)
            time.sleep(0.05)
            seen[name] = set(present)
            present.discard(name)

    with turn(tmp_path, alone=False):
        first = Thread(target=take, args=(0,), kwargs={"alone": False})
        first.start()
        first.join()
        others = [Thread(target=take, args=(i,), kwargs={"alone": i == 2}) for i in range(1, 5)]
        for other in others:
            other.start()
        time.sleep(0.1)
        assert 2 not in present | set(seen)
    for other in others:
        other.join()
    assert set(seen) == {0, 1, 2, 3, 4} and seen[2] == {2}
