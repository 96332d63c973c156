"""Answers to questions against the right ones, as SQuAD's own script counts them.

Case, punctuation, articles and runs of blanks do not count: Rajpurkar et al. 2016, SQuAD:
100,000+ Questions for Machine Comprehension of Text.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_and_f1(given: str, right: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of words, 0 to 1, of the best of the right answers.

    Where no answer is right, giving none is.

    >>> exact_and_f1("the Eiffel Tower!", ["Eiffel tower", "tower of Eiffel"])
    (1.0, 1.0)
    """
    ours = _normal(given)
    expected = [_normal(answer) for answer in right] or [""]
    exact = max(float(ours == answer) for answer in expected)
    return exact, max(_f1(ours.split(), answer.split()) for answer in expected)


def _normal(text: str) -> str:
    plain = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def _f1(ours: Sequence[str], theirs: Sequence[str]) -> float:
    if not ours or not theirs:
        return float(ours == theirs)
    both = (Counter(ours) & Counter(theirs)).total()
    return 2 * both / (len(ours) + len(theirs))
