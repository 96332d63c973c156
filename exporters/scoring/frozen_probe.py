"""The frozen probe: a logistic regression on the features of the base, left as it is."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel

from osd_edge.data.examples import Example, check_pairs
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, DataError
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.families import family_of
from osd_edge.exporters.models.tokenizer import max_tokens, tokenizer_for
from osd_edge.exporters.scoring.batches import make_batches, mask_of

_BATCH = 64
_FOLDS = 3
_INVERSE_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C, on standardised features
_ITERATIONS = 500


def frozen_probe_accuracy(
    base: Path,
    train: Sequence[Example],
    test: Sequence[Example],
    *,
    progress: Progress = silent,
) -> float:
    """Test accuracy (0 to 1) of a logistic regression on frozen features of `base`.

    `base` is a Hugging Face folder. A text's features are its token states of the last layer,
    averaged over the text, next to the state of its first token. The regularisation is chosen by
    cross-validation within `train`. Raises DataError `data.probe` where a label has fewer than
    three texts to train on, `data.pairs` for pairs of texts beside single ones.
    """
    check_pairs({"the probe's training set": train, "the test set": test})
    labels = np.array([example.label for example in train])
    names, counts = np.unique(labels, return_counts=True)
    if counts.min() < _FOLDS or len(names) < 2:
        raise DataError(
            Code.DATA_PROBE, f"the probe needs {_FOLDS} examples of each label: give more rows"
        )
    features = _features(base, [*train, *test], progress)
    seen, unseen = features[: len(train)], features[len(train) :]
    with warnings.catch_warnings():
        # A weakly regularised fit that stops early is still a candidate, and scored as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = _probe(_best_strength(seen, labels, progress)).fit(seen, labels)
    return float(probe.score(unseen, np.array([example.label for example in test])))


def _features(base: Path, examples: Sequence[Example], progress: Progress) -> NDArray[np.float32]:
    """Features `[texts, 2 * hidden size]`, in the order of `examples`."""
    checkpoint = Checkpoint(base)
    tokenizer = tokenizer_for(checkpoint, checkpoint)
    limit = max_tokens(checkpoint, tokenizer)
    inputs = family_of(checkpoint.config).inputs
    # With the checkpoint's own configuration, in which settings of training are neutral.
    model = AutoModel.from_pretrained(base, config=checkpoint.config, dtype=torch.float32).eval()
    features = []
    rows: list[int] = []
    batches = make_batches(examples, None, tokenizer, inputs, limit, _BATCH)
    for batch in progress(batches, "Frozen features"):
        with torch.inference_mode():
            states = model(**batch.tokens).last_hidden_state
        mask = mask_of(batch.tokens, states).unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1)
        features.append(torch.cat([mean, states[:, 0]], dim=1).numpy())
        rows += batch.rows
    ordered: NDArray[np.float32] = np.concatenate(features)[np.argsort(rows)]
    return ordered


def _best_strength(
    features: NDArray[np.float32], labels: NDArray[np.str_], progress: Progress
) -> float:
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    scores = {
        strength: float(cross_val_score(_probe(strength), features, labels, cv=folds).mean())
        for strength in progress(_INVERSE_STRENGTHS, "Frozen probe")
    }
    # Of equal scores the first, which is the strongest regularisation.
    return max(scores, key=lambda strength: scores[strength])


def _probe(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=_ITERATIONS))
