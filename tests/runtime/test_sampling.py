"""Processed logits are those of transformers' own processors, and draws follow them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from osd_edge.errors import InputError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.generation.sampling import Sampling, next_token, processed, top_p

VOCABULARY = 60
_EDGE = 1e-5  # of a sum of chances: closer ones fall to either side by rounding


def theirs(logits: Floats, tokens: list[int], sampling: Sampling) -> Floats:
    scores, ids = torch.from_numpy(logits.copy())[None], torch.tensor([tokens])
    for process in (
        RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)),
        TemperatureLogitsWarper(float(sampling.temperature)),
        *([TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []),
        *([TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []),
        *([MinPLogitsWarper(sampling.min_p)] if sampling.min_p else []),
    ):
        scores = process(ids, scores)
    return np.asarray(scores[0])


SAMPLINGS = st.builds(
    Sampling,
    st.floats(0.05, 5),
    st.sampled_from((0, 1, 2, 7, VOCABULARY - 1, VOCABULARY, 1000)),
    st.one_of(st.just(1.0), st.floats(0.01, 0.999)),
    st.one_of(st.just(0.0), st.floats(0.001, 1)),
    st.one_of(st.just(1.0), st.floats(0.2, 3)),
)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((0.1, 1, 8)),
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=20),
    SAMPLINGS,
)
def test_processed_logits_are_those_of_transformers(
    seed: int, spread: float, tokens: list[int], sampling: Sampling
) -> None:
    logits = np.random.default_rng(seed).normal(0, spread, VOCABULARY).astype(np.float32)
    ours, expected = processed(logits, tokens, sampling), theirs(logits, tokens, sampling)
    assert (
        logits.tobytes()
        == np.random.default_rng(seed).normal(0, spread, VOCABULARY).astype(np.float32).tobytes()
    )  # what was given is as it was
    left = np.isfinite(ours)
    for one in map(int, np.flatnonzero(left != np.isfinite(expected))):
        assert _on_the_edge(logits, tokens, sampling, one), one
    both = left & np.isfinite(expected)
    np.testing.assert_allclose(ours[both], expected[both], rtol=2e-6)


def _on_the_edge(logits: Floats, tokens: list[int], sampling: Sampling, one: int) -> bool:
    """Whether a token goes or stays by the rounding of chances alone."""
    words = (sampling.temperature, sampling.top_k, 1.0, 0.0, sampling.repetition_penalty)
    before = processed(logits, tokens, Sampling(*words))
    chances = np.exp(before.astype(np.float64) - before.max())
    chances /= chances.sum()
    up_to = chances[chances <= chances[one] * (1 + 1e-6)].sum()
    near_p = abs(up_to - (1 - sampling.top_p)) < _EDGE
    near_min = abs(chances[one] - sampling.min_p * chances.max()) < _EDGE * chances.max()
    return bool(near_p or near_min)


def test_the_likeliest_token_is_taken_where_nothing_is_drawn() -> None:
    logits = np.array([1, 3, 2], np.float32)
    random = np.random.default_rng(0)
    assert next_token(logits, [], Sampling(), random) == 1
    assert next_token(logits, [1], Sampling(repetition_penalty=2), random) == 2
    assert next_token(-logits, [0], Sampling(repetition_penalty=4), random) == 2


def test_draws_are_as_frequent_as_their_chances() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    random = np.random.default_rng(1)
    drawn = [next_token(logits, [], Sampling(temperature=1), random) for _ in range(4000)]
    # Three standard deviations of a count are below 0.024 of all.
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.15, 0.05], atol=0.024)
    few = [next_token(logits, [], Sampling(1.0, 2), random) for _ in range(500)]
    assert set(few) == {0, 1}


def test_of_equal_chances_any_may_stay_but_one_does() -> None:
    kept = top_p(np.zeros(5, np.float32), 1e-9)
    assert np.isfinite(kept).sum() == 1


@pytest.mark.parametrize(
    "words",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": "1"},
        {"temperature": 10**400},
        {"top_k": -1},
        {"top_k": 1.5},
        {"top_p": 0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"repetition_penalty": 0},
    ],
)
def test_words_out_of_range_are_refused(words: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(words))) as refused:
        Sampling(**words).checked()  # type: ignore[arg-type]
    assert refused.value.code == "input.number"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [1e-38, 1e-46, 5e-324])
def test_a_temperature_of_next_to_nothing_takes_the_likeliest(temperature: float) -> None:
    logits = np.array([-40, 3, 2.9, 0], np.float32)
    sampling = Sampling(temperature=temperature, top_p=0.9, min_p=0.1).checked()
    assert next_token(logits, [0], sampling, np.random.default_rng(0)) == 1
