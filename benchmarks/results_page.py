"""docs/results.md as text."""

import datetime
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.results_data import DrawSpread, Results
from osd_edge.cli.output import percent
from osd_edge.exporters.compare.comparison import Setting

LORA_8 = ("lora", "r=4")  # rank 8 in fp16 is as many bytes as rank 4 in fp32
_VERSIONS = ("osd-edge", "torch", "transformers", "onnxruntime", "numpy", "zstandard")

_EQUAL_HEADER = (
    "| on | ours | bytes | % | peer | bytes | % | factor |",
    "|---|---|---|---|---|---|---|---|",
)


def page(results: Results, picture: str) -> str:
    """The whole page."""
    lines = [*_opening(results, picture), *_summary(results)]
    lines += [*_equal_accuracy(results), *_refined(results), *_controls(results)]
    for task in results.outcomes:
        lines += _task(results, task)
    return "\n".join([*lines, *_device(results)]) + "\n"


def _opening(results: Results, picture: str) -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    lines = [
        "# Results",
        "",
        "Made by `make results`; no figure here is typed in by hand.",
        "",
        f"Date {datetime.date.today()}, commit {_commit()}. {versions}, Python "
        f"{platform.python_version()}, {platform.machine()}. Base: all-MiniLM-L6-v2. "
        f"Calibration: {_rows(results)} training rows, drawn with seed 0, which is the method's "
        f"seed too{_of_draws(results)}. osd-rd tunes on the texts of these rows without their "
        "labels, but for those that it holds back (a fifth, 400 at most); the paper's methods "
        "take gradients and choose c on 512 labelled ones. "
        f"Compressing took {_processor_minutes(results):.0f} minutes of processor time in all "
        "(CPU s below; statistics and decompositions are in the first row that needs them).",
        "",
        "All tasks have the same settings, and no method sees a test row. How the settings were "
        "chosen, and where a test figure was in sight, is in "
        "[method-choices.md](method-choices.md).",
        "",
        "Bytes are those of the files one would ship, head and headers included, and the weights "
        "that were scored are restored from them. Accuracy is on whole test sets, texts cut at "
        "128 tokens. `gain` is the share kept of what full fine-tuning gains over a frozen probe "
        "(a logistic regression on the base's features, trained on the whole training set): 0 is "
        "the probe, 100 full fine-tuning, below 0 worse than leaving the base alone. A dash: the "
        "method has no file of this size, or the task no gain.",
        "",
        f"![accuracy against bytes]({picture})",
        "",
    ]
    if results.left_out:
        lines += [f"Left out for want of time: {'; '.join(results.left_out)}.", ""]
    return lines


def _commit() -> str:
    """The commit that this code is, and whether it was changed since."""
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)

    try:
        name = git("describe", "--always").stdout.strip()
        changed = git("diff", "--quiet", "HEAD", "--", "*.py").returncode != 0
    except OSError:
        return "unknown"
    return (name or "unknown") + (", changed" if name and changed else "")


def _rows(results: Results) -> str:
    counts = {task: drawn[0].calibration_examples for task, drawn in results.outcomes.items()}
    most = max(counts.values())
    others = [f"{n:,} for `{task}`" for task, n in counts.items() if n != most]
    return f"{most:,}" + (f" ({', '.join(others)})" if others else "")


def _processor_minutes(results: Results) -> float:
    drawn = (o for outcomes in results.outcomes.values() for o in outcomes)
    return sum(p.seconds for o in drawn for p in o.points) / 60


def _of_draws(results: Results) -> str:
    draws = max(map(len, results.outcomes.values()))
    if draws == 1:
        return " (one draw, so no spread)"
    return (
        "; where a range stands in brackets, there were draws with seeds up to "
        f"{draws - 1}: the lowest and highest, before them the mean"
    )


def _summary(results: Results) -> list[str]:
    """Mean share of the gain by method and budget."""
    if not results.gain_tasks:
        return []
    lines = [
        f"## Share of the gain, mean of {', '.join(results.gain_tasks)}",
        "",
        "A range is from the mean of the tasks' lowest draws to that of their highest.",
        "",
        "| method | budget | mean bytes | gain % |",
        "|---|---|---|---|",
    ]
    for key in results.keys:
        spread = results.mean_gain(key)
        if spread is not None:
            lines.append(f"| {key[0]} | {key[1] or 'its own'} | {spread.size:,.0f} | {spread} |")
    return [*lines, ""]


def _equal_accuracy(results: Results) -> list[str]:
    """The ratio of sizes where ours are at least as good as a peer."""
    if not results.ours:
        return []
    lines = [
        "## Size at equal accuracy",
        "",
        "The smallest file of ours that is at least as good as the rank-8 fp16 LoRA extraction; "
        "then, for each file of ours, the smallest of any peer that is at least as good. Measured "
        "points only, none in between. On the mean share of the gain, and on each task's accuracy.",
        "",
        *_EQUAL_HEADER,
    ]
    for name, known in _curves(results):
        ours = {key: spread for key, spread in known.items() if key[0] in results.ours}
        peers = {key: spread for key, spread in known.items() if _is_peer(key, results)}
        pairs: list[tuple[Setting | None, Setting | None]] = []
        if LORA_8 in peers:
            pairs.append((_smallest(ours, peers[LORA_8].mean), LORA_8))
        pairs += [(key, _smallest(peers, ours[key].mean)) for key in ours]
        lines += [_equal(name, our, peer, known) for our, peer in pairs]
    return [*lines, ""]


def _refined(results: Results) -> list[str]:
    """The ratio of sizes against peers that got the refinement of our codes."""
    rows = []
    for name, known in _curves(results):
        ours = {key: spread for key, spread in known.items() if key[0] in results.ours}
        for key in known:
            if key[0] in results.refined:
                rows.append(_equal(name, _smallest(ours, known[key].mean), key, known))
    if not rows:
        return []
    return [
        "## Against refined peers",
        "",
        "A truncated SVD (trained as real numbers, then int8) and the LoRA extraction (then fp16) "
        "with the texts, steps and loss that `osd-rd-codes` gets, and the smallest file of ours "
        "that is at least as good.",
        "",
        *_EQUAL_HEADER,
        *rows,
        "",
    ]


def _curves(results: Results) -> Iterable[tuple[str, dict[Setting, DrawSpread]]]:
    """All results as curves, by the mean share of the gain and by each task's accuracy."""
    curves = {"mean gain": {key: results.mean_gain(key) for key in results.keys}}
    for task in results.outcomes:
        curves[task] = {key: results.of_task(task, key) for key in results.keys}
    for name, curve in curves.items():
        yield name, {key: spread for key, spread in curve.items() if spread is not None}


def _is_peer(key: Setting, results: Results) -> bool:
    """Says whether it is a method that one could pick in place of ours."""
    return key[0] not in results.ours and not key[0].startswith("control-")


def _equal(
    name: str, our: Setting | None, peer: Setting | None, known: Mapping[Setting, DrawSpread]
) -> str:
    factor = f" {known[peer].size / known[our].size:.1f} ×" if our and peer else ""
    return f"| {name} | {_side(our, known)} | {_side(peer, known)} |{factor} |"


def _smallest(curve: Mapping[Setting, DrawSpread], value: float) -> Setting | None:
    """The smallest with at least this value."""
    enough = [key for key, spread in curve.items() if spread.mean >= value]
    return min(enough, key=lambda key: curve[key].size, default=None)


def _side(key: Setting | None, curve: Mapping[Setting, DrawSpread]) -> str:
    if key is None:
        return "none | – | –"
    spread = curve[key]
    return f"{key[0]} {key[1] or ''} | {spread.size:,.0f} | {percent(spread.mean)}"


def _controls(results: Results) -> list[str]:
    """The controls: other starts with the same refinement, beside the real codes."""
    rows = []
    for task in results.outcomes:
        keys = [
            key
            for key in results.keys
            if key[0].startswith("control-") and key[0] not in results.refined
        ]
        found = {key: results.of_task(task, key) for key in keys}
        if not any(found.values()):
            continue
        budgets = {budget for (_, budget), spread in found.items() if spread is not None}
        real: list[Setting] = [("osd-rd-codes", budget) for budget in sorted(map(str, budgets))]
        fine_tuned = results.outcomes[task][0].fine_tuned
        for key in [*real, *keys]:
            spread, gain = results.of_task(task, key), results.gain_of_task(task, key)
            if spread is not None:
                rows.append(
                    f"| {task} | {key[0]} | {key[1]} | {spread.size:,.0f} | {spread} "
                    f"| {_share(spread.mean, fine_tuned)} "
                    f"| {'–' if gain is None else gain} |"
                )
    if not rows:
        return []
    return [
        "## Controls: compressed or trained anew?",
        "",
        "The texts, steps and loss that `osd-rd-codes` gets, from starts without the delta: none "
        "at all (`control-zero`: the head alone is refined), and the same codes in the wrong "
        "places (`control-random`).",
        "",
        "| task | start | budget | bytes | accuracy % | of fine-tuned % | gain % |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _task(results: Results, task: str) -> list[str]:
    outcome = results.outcomes[task][0]
    probe = "unknown" if outcome.frozen_probe is None else f"{percent(outcome.frozen_probe)} %"
    lines = [
        f"## {task}: {outcome.labels} labels, {outcome.test_examples} test rows",
        "",
        f"Full fine-tuning {percent(outcome.fine_tuned)} % ({outcome.fp32_bytes:,} bytes in "
        f"fp32), its linear layers and head alone {percent(outcome.linear_only)} %, frozen probe "
        f"{probe}, head on a zero delta {percent(outcome.zero_delta)} %.",
        "",
        "| method | budget | bytes | accuracy % | of fine-tuned % | gain % | CPU s | chosen |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for point in outcome.points:
        key = (point.method, point.budget)
        spread, gain = results.of_task(task, key), results.gain_of_task(task, key)
        cells = [point.method, point.budget or "its own"]
        if spread is None:
            cells += ["–", "–", "–", "–", "", point.refused or ""]
        else:
            cells += [
                f"{spread.size:,.0f}",
                str(spread),
                _share(spread.mean, outcome.fine_tuned),
                "–" if gain is None else str(gain),
                f"{point.seconds:.0f}",
                ", ".join(f"{name} {_plain(value)}" for name, value in point.detail.items()),
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _device(results: Results) -> list[str]:
    lines = [
        "## The device beside torch",
        "",
        "Accuracies above are those of torch with the restored weights; EdgeSession gives the same "
        "logits from the same file:",
        "",
        "| task | bundle | bytes | rows | largest difference of a logit | other answers |",
        "|---|---|---|---|---|---|",
    ]
    for task, check in results.device.items():
        lines.append(
            f"| {task} | {check.what} | {check.size:,} | {check.rows} "
            f"| {check.largest_difference:.1e} | {check.other_answers} |"
        )
    return lines if results.device else []


def _share(accuracy: float, of: float) -> str:
    return percent(accuracy / of) if of else "–"


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
