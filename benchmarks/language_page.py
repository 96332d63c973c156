"""The chapter of docs/results.md on tasks that generate text, from outcomes of `compare`.

It stands between two marks, so that it can be made anew without the rest of the page, and the rest
without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from osd_edge.cli.output import percent
from osd_edge.exporters.compare.comparison import Outcome, Point
from osd_edge.exporters.compare.scored_rows import ScoreWithError

BEGIN, END = "<!-- tasks that generate text: begin -->", "<!-- tasks that generate text: end -->"
SHARES = (0.7, 0.9, 0.95)  # of the gain, that the smallest files are named for
_OURS, _CONTROL = "osd-rd", "control-"
_HEADER = (
    "| method | budget | bytes | exact % | nats a token | same next % | gain % | in nats % | CPU s "
    "| chosen |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def outcome_of(fields: Mapping[str, Any]) -> Outcome:
    """The outcome that a comparison.json tells of."""
    gains = ("gain", "gain_in_nats")  # which follow from the rest
    points = [{k: v for k, v in point.items() if k not in gains} for point in fields["points"]]
    scores = {name: ScoreWithError(**score) for name, score in fields["scores"].items()}
    left = tuple((method, budget) for method, budget in fields["left"])
    made = tuple(Point(**point | {"files": tuple(point["files"])}) for point in points)
    return Outcome(**{**fields, "points": made, "scores": scores, "left": left})


def chapter(outcomes: Sequence[Outcome], picture: str) -> str:
    """The chapter with its marks; what is not measured yet is left out, and said."""
    lines = [
        BEGIN,
        "",
        "## Tasks that generate text",
        "",
        "Made by `python -m benchmarks.language_results` from what `osd-edge compare` has kept; no "
        "figure here is typed in by hand. Bytes are those of the files one would ship. `exact` are "
        "the test rows whose completion is written exactly (each token the likeliest one after the "
        "prompt and the tokens before it), with its binomial standard error; nats are those of a "
        "completion's token, with the standard error over rows; `same next` is the share of tokens "
        "whose likeliest next one is the fine-tuned model's. `gain` is the share kept of what the "
        "LoRA gains over the base alone, in exact rows and in nats: 0 is the base, 100 the trained "
        "LoRA. No method sees a test row. A dash: the method has no file of this size.",
        "",
        f"![rows written exactly against bytes]({picture})",
        "",
    ]
    for outcome in outcomes:
        lines += [*_task(outcome), *_smallest(outcome), *_controls(outcome)]
    return "\n".join([*lines, END]) + "\n"


def with_chapter(page: str, text: str) -> str:
    """The page with this chapter in the place of its own, or at its end."""
    before, own, after = _parts(page)
    if own:
        return before + text + after
    return (before.rstrip("\n") + "\n\n" + text) if text else before


def chapter_in(page: str) -> str:
    """The chapter that a page has, with its marks; nothing where it has none."""
    return _parts(page)[1]


def _parts(page: str) -> tuple[str, str, str]:
    before, begin, rest = page.partition(BEGIN)
    own, end, after = rest.partition(END)
    if not (begin and end):
        return page, "", ""
    return before, f"{BEGIN}{own}{END}\n", after.removeprefix("\n")


def _task(outcome: Outcome) -> list[str]:
    scores = outcome.scores
    tuned, linear, base = (scores[n] for n in ("fine_tuned", "linear_only", "zero_delta"))
    lines = [
        f"### {outcome.task}: {outcome.test_examples} test rows, "
        f"{outcome.calibration_examples} calibration rows",
        "",
        f"The fine-tuned model ({outcome.fp32_bytes:,} bytes in fp32) writes "
        f"{_exact(outcome, tuned.accuracy)} % exactly at {_nats(tuned)} nats, the base alone "
        f"{_exact(outcome, base.accuracy)} % at {_nats(base)}."
        + (
            ""
            if linear == tuned
            else f" Without its changes of embeddings and norms: {_exact(outcome, linear.accuracy)}"
            f" % at {_nats(linear)}."
        ),
        "",
        *_HEADER,
    ]
    lines += [_row(outcome, point) for point in outcome.points]
    if outcome.left:
        lines += ["", f"Not measured: {'; '.join(_left(outcome))}."]
    return [*lines, ""]


def _left(outcome: Outcome) -> list[str]:
    """The methods that were not measured, with the budgets where others of them were."""
    measured = {point.method for point in outcome.points}
    budgets: dict[str, list[str]] = {}
    for method, budget in outcome.left:
        budgets.setdefault(method, []).append(budget or "its own size")
    return [
        f"{method} at {', '.join(sizes)}" if method in measured else method
        for method, sizes in budgets.items()
    ]


def _row(outcome: Outcome, point: Point) -> str:
    columns = [point.method, point.budget or "its own"]
    if point.size is None or point.accuracy is None:
        columns += ["–"] * 6 + ["", point.refused or ""]
    else:
        columns += [
            f"{point.size:,}",
            _exact(outcome, point.accuracy),
            _nats(point),
            _share(point.next_same),
            _gain(outcome, point.accuracy),
            _share(outcome.gain_in_nats(point.loss)),
            f"{point.seconds:.0f}",
            ", ".join(f"{name} {_plain(value)}" for name, value in point.detail.items()),
        ]
    return f"| {' | '.join(columns)} |"


def _smallest(outcome: Outcome) -> list[str]:
    """The smallest measured file, ours and of any peer, that keeps a share of the gain."""
    known = [p for p in outcome.points if outcome.gain(p.accuracy) is not None]
    if not known:
        return []
    ours = [p for p in known if p.method.startswith(_OURS)]
    peers = [p for p in known if not p.method.startswith((_OURS, _CONTROL))]
    lines = [
        f"The smallest measured file of `{outcome.task}` that keeps at least a share of the gain "
        "in exact rows (measured points only, none in between):",
        "",
        "| gain % | ours | bytes | peer | bytes | factor |",
        "|---|---|---|---|---|---|",
    ]
    for share in SHARES:
        our, peer = (_least(outcome, side, share) for side in (ours, peers))
        sizes = (our and our.size, peer and peer.size)
        factor = f"{sizes[1] / sizes[0]:.1f} ×" if sizes[0] and sizes[1] else ""
        lines.append(f"| {percent(share)} | {_side(our)} | {_side(peer)} | {factor} |")
    return [*lines, ""]


def _least(outcome: Outcome, points: Iterable[Point], share: float) -> Point | None:
    enough = [p for p in points if (outcome.gain(p.accuracy) or 0.0) >= share]
    return min(enough, key=lambda p: p.size or 0, default=None)


def _side(point: Point | None) -> str:
    if point is None:
        return "none | –"
    return f"{point.method} {point.budget or ''} | {point.size:,}"


def _controls(outcome: Outcome) -> list[str]:
    """Other starts with the same refinement, beside the real codes of the same budget."""
    found = [p for p in outcome.points if p.method.startswith(_CONTROL) and p.size is not None]
    if not found:
        return []
    budgets = {p.budget for p in found}
    real = [
        p
        for p in outcome.points
        if p.method in ("osd-rd", "osd-rd-codes") and p.budget in budgets and p.size is not None
    ]
    lines = [
        f"Controls of `{outcome.task}`: the refinement that `osd-rd` (scales) and `osd-rd-codes` "
        "get, from other starts: no delta and wrong codes to grow one (`control-zero`), the same "
        "codes in the wrong places (`control-random`; `-scales`: only scales are refined), and "
        "plain factors in the place of codes.",
        "",
        "| start | budget | bytes | exact % | nats a token | gain % |",
        "|---|---|---|---|---|---|",
    ]
    for point in [*real, *found]:
        assert point.accuracy is not None
        lines.append(
            f"| {point.method} | {point.budget} | {point.size:,} "
            f"| {_exact(outcome, point.accuracy)} | {_nats(point)} "
            f"| {_gain(outcome, point.accuracy)} |"
        )
    return [*lines, ""]


def _exact(outcome: Outcome, accuracy: float) -> str:
    return f"{percent(accuracy)} ± {percent(outcome.error(accuracy))}"


def _nats(score: ScoreWithError | Point) -> str:
    return f"{score.loss:.4f} ± {score.loss_error:.4f}"


def _gain(outcome: Outcome, accuracy: float) -> str:
    """The share of the gain, with its standard error from that of the accuracy."""
    gain = outcome.gain(accuracy)
    if gain is None or outcome.floor is None:
        return "–"
    error = outcome.error(accuracy) / (outcome.fine_tuned - outcome.floor)
    return f"{percent(gain)} ± {percent(error)}"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
