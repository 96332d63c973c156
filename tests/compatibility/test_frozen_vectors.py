"""Version 1 of the bundle format is frozen: no file of its vectors, and no code, may change."""

from tests.compatibility.frozen_vectors import frozen, outcomes


def test_no_frozen_case_changes_or_goes() -> None:
    now, before = outcomes(), frozen()
    assert len(before) > 350
    assert {name: now.get(name) for name in before} == before
    assert set(now) == set(before), "freeze it: python -m tests.compatibility.frozen_vectors"
