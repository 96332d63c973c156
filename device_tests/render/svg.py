"""Draws small SVG pictures: shapes, text, scales and ticks. Colours are the page's classes."""

import math
from collections.abc import Sequence
from html import escape

_LEAST = 1e-9  # a scale that ends below it would be of nothing


def text(
    x: float, y: float, words: str, *, anchor: str = "start", css: str = "", size: int = 13
) -> str:
    """Draws words at a point; `anchor` is start, middle or end."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f"{_class(css)}>{escape(words)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """Draws a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{_class(css)}/>'


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """Draws a line through points."""
    steps = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return f'<path d="{steps}"{_class(css)}/>'


def dot(x: float, y: float, css: str, tip: str, radius: float = 4.5) -> str:
    """Draws a dot, whose tip shows under the pointer."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"{_class(css)}>'
        f"<title>{escape(tip)}</title></circle>"
    )


def bar(x: float, y: float, width: float, height: float, css: str, tip: str) -> str:
    """Draws a bar that stands on its left end: only the other end is rounded."""
    r = min(4.0, width / 2, height / 2)
    right = x + max(width, 0.5)
    shape = (
        f"M{x:.1f} {y:.1f}H{right - r:.1f}Q{right:.1f} {y:.1f} {right:.1f} {y + r:.1f}"
        f"V{y + height - r:.1f}Q{right:.1f} {y + height:.1f} {right - r:.1f} {y + height:.1f}"
        f"H{x:.1f}Z"
    )
    return f'<path d="{shape}"{_class(css)}><title>{escape(tip)}</title></path>'


def whisker(x1: float, x2: float, y: float, css: str) -> str:
    """Draws a range along x, with a stroke at either end."""
    return (
        line(x1, y, x2, y, css) + line(x1, y - 4, x1, y + 4, css) + line(x2, y - 4, x2, y + 4, css)
    )


def picture(width: int, height: int, parts: Sequence[str], label: str) -> str:
    """Puts the picture around its parts; `label` is read out where it cannot be seen."""
    inside = "".join(parts)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg">{inside}</svg>'
    )


def ticks(most: float, count: int = 5) -> list[float]:
    """Picks round numbers from 0 to at least `most`, about `count` of them."""
    if most < _LEAST:
        return [0.0, 1.0]
    step = 10 ** math.floor(math.log10(most / count))
    step *= min((m for m in (1, 2, 2.5, 5, 10) if m * step * count >= most), default=10)
    return [i * step for i in range(math.ceil(most / step - 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Lists powers of ten from at most `low` to at least `high`, both above 0."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**i for i in range(first, max(last, first + 1) + 1)]


def space_labels(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves labels as little as their order allows until they are `gap` apart, within bounds."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    at = low - gap
    for i in order:
        at = moved[i] = max(moved[i], at + gap)
    at = high + gap
    for i in reversed(order):
        at = moved[i] = min(moved[i], at - gap)
    return moved


def _class(css: str) -> str:
    return f' class="{css}"' if css else ""
