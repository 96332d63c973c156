"""Measures time and peak memory, by stage, of exporting models of the sizes that people ship.

Makes a base of random weights from the real configuration of RoBERTa-large or OPT-1.3b, in the
files that these models come in, and a classifier "fine-tuned" from it; exports the base and the
task, each stage in a process of its own, and prints what each took. Nothing is downloaded.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks.at_size_models import MODELS, make_models, write_calibration
from osd_edge.data.files import write_file

STAGES = ("models", "base", "task", "task-calibrated")
_TITLES = {
    "models": "make the models",
    "base": "export base",
    "task": "export task, no calibration data",
    "task-calibrated": "export task, 128 sequences of 128 tokens",
}


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--model", type=click.Choice(sorted(MODELS)), default="roberta-large")
@click.option("--layers", type=int, help="Fewer layers than the model has: for trying out.")
@click.option("--calibration/--no-calibration", default=False, help="Also a calibrated task.")
@click.option("--refine", type=click.Choice(["none", "scales", "codes"]), default="none")
@click.option("--steps", type=click.IntRange(1), help="Of training, fewer than usual: a trial.")
@click.option("--budget", default="64KiB", show_default=True)
@click.option("--weights", default="fp32", show_default=True, help="Of the base package.")
@click.option("--jobs", type=int, default=2, show_default=True, help="Layers at once.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder that keeps all files.")
@click.option("--minutes", type=float, help="Stop after so many; the same command goes on.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--stage", type=click.Choice(STAGES), hidden=True)
def main(
    model: str,
    layers: int | None,
    calibration: bool,
    refine: str,
    steps: int | None,
    budget: str,
    weights: str,
    jobs: int,
    work: Path | None,
    minutes: float | None,
    as_json: bool,
    stage: str | None,
) -> None:
    """Run every stage, or with `--stage` one of them in this process."""
    options: dict[str, Any] = {
        "model": model,
        "layers": layers or MODELS[model].layers,
        "refine": refine,
        "steps": steps,
        "budget": budget,
        "weights": weights,
        "jobs": jobs,
    }
    if stage is not None:
        assert work is not None
        print(json.dumps(run_stage(stage, work, options)))
        return
    with tempfile.TemporaryDirectory(prefix="osd-edge-at-size-") as name:
        folder = work or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        report = begun_report(folder, options)
        end = None if minutes is None else time.monotonic() + 60 * minutes
        for step in STAGES if calibration else STAGES[:-1]:
            if step in report["stages"]:
                continue
            report["stages"][step] = in_process(step, folder, options, end)
            # Kept as it grows: a stage that is stopped takes the others' figures with it else.
            write_file(folder / "report.json", json.dumps(report, indent=1).encode())
    print(json.dumps(report, indent=1) if as_json else markdown(report))


def begun_report(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The report in `folder` of the stages that are done, where it is of the same options."""
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
    except FileNotFoundError:
        report = {}
    return report if report.get("options") == options else {"options": options, "stages": {}}


def in_process(
    stage: str, folder: Path, options: dict[str, Any], end: float | None = None
) -> dict[str, Any]:
    """Runs `stage` in a fresh process, until `end` (monotonic seconds), and gives what it took.

    A stage that was stopped before says so: its figures are of the last run alone.
    """
    stopped = folder / f"{stage}.stopped"
    left = None if end is None else max(0.0, end - time.monotonic())
    command = [sys.executable, "-m", "benchmarks.at_size", "--stage", stage, "--work", str(folder)]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name}", str(value)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=left)
    except subprocess.TimeoutExpired:
        stopped.touch()
        raise click.ClickException(
            f"stage {stage} was stopped: the same command goes on with it"
        ) from None
    if done.returncode:
        raise click.ClickException(f"stage {stage} failed with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    result["resumed"] = stopped.exists()
    stopped.unlink(missing_ok=True)
    return result


def run_stage(stage: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Run `stage` here; seconds of wall and processor time, bytes of peak memory, and marks.

    A mark is a step of the stage that shows its progress: when it began, in the same units.
    """
    from osd_edge.device_tests.gauges.memory import read_memory

    marks: list[dict[str, Any]] = []
    begun, cpu = time.monotonic(), time.process_time()

    def progress(items: Any, label: str, total: int | None = None) -> Any:
        mark = {"step": label, "wall_s": 0.0, "cpu_s": 0.0}
        marks.append(mark)
        start = time.monotonic(), time.process_time()
        yield from items
        mark["wall_s"] = round(time.monotonic() - start[0], 1)
        mark["cpu_s"] = round(time.process_time() - start[1], 1)
        use = read_memory()
        mark["peak_rss_bytes"] = use.peak if use else None
        print(f"{label}: {mark['cpu_s']} s", file=sys.stderr, flush=True)

    _work(stage, folder, options, progress)
    use = read_memory()
    return {
        "wall_s": round(time.monotonic() - begun, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_rss_bytes": use.peak if use else None,
        "pss_bytes_at_end": use.pss if use else None,
        "steps": marks,
    }


def _work(stage: str, folder: Path, options: dict[str, Any], progress: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    base, tuned, package = folder / "base", folder / "tuned", folder / "package"
    if stage == "models":
        if not (tuned / "model.safetensors").is_file():
            make_models(options["model"], options["layers"], base, tuned, progress)
        return
    from osd_edge.exporters import export_base, export_task
    from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
    from osd_edge.exporters.models import large
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    large.LARGE = 0  # with fewer layers too what is measured is the way of the large ones
    if stage == "base":
        export_base(base, package, weights=options["weights"], overwrite=True, progress=progress)
        return
    if options["steps"] and options["refine"] != "none":
        how = REFINEMENTS[options["refine"]]
        REFINEMENTS[options["refine"]] = replace(how, steps=options["steps"])
    calibrated = stage == "task-calibrated"
    calibration = None
    if calibrated:
        calibration = folder / "calibration.txt"
        write_calibration(calibration)
    with ThreadPoolExecutor(options["jobs"]) as executor:
        export_task(
            base,
            tuned,
            folder / f"{stage}.osd.safetensors",
            budget=options["budget"],
            refine=options["refine"] if calibrated else "none",
            calibration=calibration,
            executor=executor,
            progress=progress,
        )


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table, a row for each stage and one for each step of it."""
    options = report["options"]
    lines = [
        f"{options['model']}, {options['layers']} layers, --refine {options['refine']}, "
        f"{options['budget']}",
        "",
        "| | wall s | processor s | peak RSS, MiB |",
        "|---|---|---|---|",
    ]
    for stage, found in report["stages"].items():
        resumed = ", its last run" if found.get("resumed") else ""
        lines.append(_row(f"**{_TITLES[stage]}{resumed}**", found))
        lines += [_row(f"… {step['step']}", step) for step in found["steps"]]
    return "\n".join(lines)


def _row(title: str, found: dict[str, Any]) -> str:
    peak = found.get("peak_rss_bytes")
    size = "" if peak is None else f"{peak / 2**20:.0f}"
    return f"| {title} | {found['wall_s']:.0f} | {found['cpu_s']:.0f} | {size} |"


if __name__ == "__main__":
    main()
