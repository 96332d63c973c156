"""Measures time and peak memory, by stage, of exporting decoders of the sizes that phones run.

Writes a sharded checkpoint of random weights in bf16 in the shape of Llama-3.2-1B or Qwen3-0.6B,
and exports it as a base that generates text, with each kind of weights in a process of its own.
Nothing is downloaded. Peaks are of each step: the kernel's own count of resident memory begins
anew with it, and memory with no file behind it is sampled every 10 ms.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from osd_edge.data.files import write_file

MODELS = ("llama-3.2-1b", "qwen3-0.6b")
_PERIOD = 0.01  # s, between samples of anonymous memory


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--model", type=click.Choice(MODELS), default=MODELS[0], show_default=True)
@click.option("--layers", type=int, help="Fewer layers than the model has: for trying out.")
@click.option("--weights", "kinds", multiple=True, default=["fp32", "int4"], show_default=True)
@click.option("--work", type=click.Path(path_type=Path), help="Folder that keeps all files.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--stage", hidden=True)
def main(
    model: str,
    layers: int | None,
    kinds: tuple[str, ...],
    work: Path | None,
    as_json: bool,
    stage: str | None,
) -> None:
    """Run every stage, or with `--stage` one of them in this process."""
    if stage is not None:
        assert work is not None
        print(json.dumps(run_stage(stage, model, layers, work)))
        return
    with tempfile.TemporaryDirectory(prefix="osd-edge-decoder-") as name:
        folder = work or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        report: dict[str, Any] = {"model": model, "layers": layers, "stages": {}}
        for step in ("checkpoint", *kinds):
            report["stages"][step] = _in_process(step, model, layers, folder)
            write_file(folder / "report.json", json.dumps(report, indent=1).encode())
    print(json.dumps(report, indent=1) if as_json else markdown(report))


def _in_process(stage: str, model: str, layers: int | None, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.decoder_at_size", "--stage", stage]
    command += ["--model", model, "--work", str(folder)]
    command += [] if layers is None else ["--layers", str(layers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"stage {stage} failed with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_stage(stage: str, model: str, layers: int | None, folder: Path) -> dict[str, Any]:
    """Runs `stage` here; gives what it took in all and at each step, and the size of its files."""
    checkpoint, package = folder / "checkpoint", folder / f"package-{stage}"
    with Steps() as steps:
        if stage == "checkpoint":
            from benchmarks.decoder_at_size_models import write_checkpoint

            if not (checkpoint / "config.json").is_file():
                write_checkpoint(model, layers, checkpoint, steps.progress)
            made = checkpoint
        else:
            from osd_edge.exporters import export_base
            from osd_edge.exporters.quiet import quiet_libraries

            quiet_libraries()
            steps.enter("Opening")
            options = {"task": "generate", "weights": stage, "overwrite": True}
            export_base(checkpoint, package, progress=steps.progress, **options)
            made = package
    size = sum(path.stat().st_size for path in made.iterdir())
    if made == package:
        shutil.rmtree(package)  # which is gigabytes
    return {"bytes": size, "steps": steps.found}


class Steps:
    """The steps of a stage as its progress names them: seconds, and peaks of memory, of each."""

    def __init__(self) -> None:
        """Begins without a step."""
        self.found: list[dict[str, Any]] = []
        self._anonymous = 0
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Steps":
        self._sampler.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
        self._done.set()
        self._sampler.join()

    def enter(self, label: str) -> None:
        """Begins a step, which lasts until the next one."""
        self._close()
        self._begun = time.monotonic(), time.process_time()
        self._anonymous = 0
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak is of now
        self.found.append({"step": label})

    def progress(self, items: Any, label: str, total: int | None = None) -> Iterator[Any]:
        """A Progress that notes steps; between two of them is a step of its own."""
        self.enter(label)
        yield from items
        self.enter(f"after {label[:1].lower()}{label[1:]}")

    def _close(self) -> None:
        from osd_edge.device_tests.gauges.memory import read_memory

        if not self.found:
            return
        use = read_memory()
        assert use is not None
        self.found[-1] |= {
            "wall_s": round(time.monotonic() - self._begun[0], 1),
            "cpu_s": round(time.process_time() - self._begun[1], 1),
            "peak_rss_bytes": use.peak,
            "peak_anonymous_bytes": max(self._anonymous, use.anonymous or 0),
        }

    def _sample(self) -> None:
        while not self._done.wait(_PERIOD):
            for line in Path("/proc/self/status").read_text("ascii").splitlines():
                if line.startswith("RssAnon:"):
                    self._anonymous = max(self._anonymous, 1024 * int(line.split()[1]))


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table, a row for each step."""
    layers = report["layers"]
    depth = "" if layers is None else f", {layers} layers"
    lines = [
        f"{report['model']}{depth}",
        "",
        "| | wall s | processor s | peak RSS, MiB | peak anonymous, MiB |",
        "|---|---|---|---|---|",
    ]
    for stage, found in report["stages"].items():
        lines.append(f"| **{stage}**, {found['bytes'] / 2**20:.0f} MiB | | | | |")
        for step in found["steps"]:
            peaks = (step["peak_rss_bytes"], step["peak_anonymous_bytes"])
            figures = [f"{step['wall_s']:.0f}", f"{step['cpu_s']:.0f}"]
            figures += [f"{peak / 2**20:.0f}" for peak in peaks]
            lines.append(f"| … {step['step']} | {' | '.join(figures)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
