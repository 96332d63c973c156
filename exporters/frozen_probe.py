"""How far a task gets with the base left as it is: logistic regression on its frozen features."""

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
from transformers import AutoModel, AutoTokenizer

from osd_edge.progress import Progress, silent

_BATCH = 64
_FOLDS = 3
_INVERSE_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C, on standardised features
_ITERATIONS = 500


def frozen_probe_accuracy(
    base: Path,
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    test_texts: Sequence[str],
    test_labels: Sequence[str],
    *,
    max_length: int = 128,
    progress: Progress = silent,
) -> float:
    """Return the test accuracy (0 to 1) of a logistic regression on features of `base`.

    `base` is a Hugging Face folder. A text's features are its token states of the last layer,
    averaged over the text, next to the state of its first token. The regularisation is chosen by
    cross-validation within the training part. Texts are cut after `max_length` tokens. Raises
    ValueError where texts and labels differ in number or a label has fewer than three texts.
    """
    features = _features(base, [*train_texts, *test_texts], max_length, progress)
    train, test = features[: len(train_texts)], features[len(train_texts) :]
    with warnings.catch_warnings():
        # A weakly regularised fit that stops early is still a candidate, and scored as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = _probe(_best_strength(train, train_labels)).fit(train, train_labels)
    return float(probe.score(test, test_labels))


def _features(
    base: Path, texts: Sequence[str], max_length: int, progress: Progress
) -> NDArray[np.float32]:
    """Return (texts, 2 * hidden size) features, in the order of `texts`."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModel.from_pretrained(base).float().eval()
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    batches = [by_length[start : start + _BATCH] for start in range(0, len(by_length), _BATCH)]
    features = np.empty((len(texts), 2 * model.config.hidden_size), dtype=np.float32)
    for batch in progress(batches, "frozen features", len(batches)):
        encoded = tokenizer(
            [texts[index] for index in batch],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = model(**encoded).last_hidden_state
        mask = encoded["attention_mask"].unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1)
        features[batch] = torch.cat([mean, states[:, 0]], dim=1).numpy()
    return features


def _best_strength(features: NDArray[np.float32], labels: Sequence[str]) -> float:
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    scores = {
        strength: float(cross_val_score(_probe(strength), features, labels, cv=folds).mean())
        for strength in _INVERSE_STRENGTHS
    }
    # Of equal scores the first, which is the strongest regularisation.
    return max(scores, key=lambda strength: scores[strength])


def _probe(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=_ITERATIONS))
