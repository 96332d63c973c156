"""Refinement that is broken off goes on where it was, to the bytes of one that was not."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from osd_edge import Example
from osd_edge.exporters.methods.osd_rd import compress, distillation, refine, saved_refinement
from osd_edge.exporters.methods.osd_rd.work_key import work_key
from osd_edge.exporters.models import large as large_models
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from tests.support.exports import export_bytes
from tests.support.writers import make_writer

STEPS, DONE = 12, 7

_KILLED = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path
from osd_edge.exporters import export_task
from osd_edge.exporters.methods.osd_rd import refine, saved_refinement
from osd_edge.exporters.models import large

models, out, refinement, limit, options = sys.argv[1:]
large.LARGE = int(limit)
saved_refinement._EVERY_S = 0.0
how = refine.REFINEMENTS[refinement]
refine.REFINEMENTS[refinement] = replace(how, steps=STEPS)

def progress(items, label, total=None):
    for i, item in enumerate(items):
        if label.startswith("Refining") and i == DONE:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

models = Path(models)
export_task(models / "base", models / "first", out, name="t", refine=refinement,
            progress=progress, **json.loads(options))
"""


def kill(models: Path, out: Path, refinement: str, limit: int = 0, **options: Any) -> None:
    """Export in another process, which is killed after `DONE` steps."""
    code = _KILLED.replace("STEPS", str(STEPS)).replace("DONE", str(DONE))
    arguments = [str(models), str(out), refinement, str(limit), json.dumps(options)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False)
    assert done.returncode == -9 and not out.exists()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An item for each step of training that this process takes from now on; there are few."""
    taken: list[int] = []
    loss = distillation.distillation_loss

    def counted(*arguments: Any) -> torch.Tensor:
        taken.append(1)
        return loss(*arguments)

    monkeypatch.setattr(refine, "distillation_loss", counted)
    for name in ("scales", "codes"):
        how = replace(refine.REFINEMENTS[name], steps=STEPS)
        monkeypatch.setitem(refine.REFINEMENTS, name, how)
    return taken


@pytest.mark.slow(reason="exports in a process of its own")
@pytest.mark.parametrize("refinement", ["scales", "codes"])
def test_a_killed_refinement_goes_on_to_the_same_bytes(
    tiny_models: Path,
    tmp_path: Path,
    large: pytest.MonkeyPatch,
    steps: list[int],
    refinement: str,
) -> None:
    options: dict[str, Any] = {"budget": "4KiB", "calibration": str(tiny_models / "examples.tsv")}
    out = tmp_path / "t.osd.safetensors"
    kill(tiny_models, out, refinement, **options)
    resumed = export_bytes(tiny_models, tmp_path, refine=refinement, **options)
    left = len(steps)
    assert list(tmp_path.iterdir()) == [out]
    steps.clear()
    assert export_bytes(tiny_models, tmp_path, refine=refinement, **options) == resumed
    assert len(steps) - left == DONE


def _damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def _number(file: Path) -> None:
    """A digit of the strength of the L1 term, which is in no tensor."""
    changed = re.sub(rb'(strength\\": \d\.\d*)\d', rb"\g<1>0", file.read_bytes(), count=1)
    assert changed != file.read_bytes()
    file.write_bytes(changed)


@pytest.mark.slow(reason="exports in a process of its own")
@pytest.mark.parametrize(
    ("spoil", "other"),
    [(_damage, {}), (_number, {}), (None, {"budget": "3KiB"}), (None, {"seed": 1})],
    ids=["damaged", "another number", "another budget", "another seed"],
)
def test_what_is_damaged_or_of_another_export_is_not_gone_on_from(
    tiny_models: Path,
    tmp_path: Path,
    large: pytest.MonkeyPatch,
    steps: list[int],
    spoil: Callable[[Path], None] | None,
    other: dict[str, Any],
) -> None:
    options: dict[str, Any] = {"budget": "4KiB", "calibration": str(tiny_models / "examples.tsv")}
    out = tmp_path / "t.osd.safetensors"
    kill(tiny_models, out, "codes", **options)
    (file,) = out.with_name(f".{out.name}.work").glob("refinement-*")
    if spoil is not None:
        spoil(file)
    options |= other
    resumed = export_bytes(tiny_models, tmp_path, refine="codes", **options)
    left = len(steps)
    assert export_bytes(tiny_models, tmp_path, refine="codes", **options) == resumed
    assert len(steps) == 2 * left


def test_a_finished_refinement_is_not_done_again(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch, steps: list[int]
) -> None:
    """`--keep` tries sizes one after the other, and here it is broken off at the last."""
    whole = export_bytes(tiny_models, tmp_path, refine="scales", calibration=rows(tiny_models))
    done = len(steps)
    with large.context() as patch:
        patch.setattr(compress.RateDistortion, "within", _stop)
        with pytest.raises(KeyboardInterrupt):
            export_bytes(tiny_models, tmp_path, refine="scales", calibration=rows(tiny_models))
    assert len(steps) == 2 * done
    again = export_bytes(tiny_models, tmp_path, refine="scales", calibration=rows(tiny_models))
    assert again == whole and len(steps) == 2 * done


def test_states_are_kept_now_and_then(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch, steps: list[int]
) -> None:
    """After each step where the time has come, else after the last one alone."""
    kept: list[int] = []
    keep = saved_refinement.SavedRefinement.keep

    def counted(saved: Any, optimizer: Any, reached: saved_refinement.Reached) -> None:
        kept.append(reached.steps)
        keep(saved, optimizer, reached)

    large.setattr(saved_refinement.SavedRefinement, "keep", counted)
    for seconds in (0.0, 1e9):
        large.setattr(saved_refinement, "_EVERY_S", seconds)
        steps.clear()
        export_bytes(tiny_models, tmp_path, refine="scales", calibration=rows(tiny_models))
    last = len(steps)
    assert kept == [*range(1, last + 1), last]


@pytest.mark.slow(reason="exports in a process of its own, and trains a model that writes")
def test_a_task_that_writes_is_resumed_whatever_its_size(tmp_path: Path, steps: list[int]) -> None:
    models = tmp_path / "models"
    models.mkdir()
    writer = make_writer(models)
    (models / "base").symlink_to(writer.model)
    (models / "first").symlink_to(writer.model.with_name("task0"))
    calibration = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"the cat {i}", "completion": f" sat on {i}"} for i in range(40)]
    calibration.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    out = tmp_path / "out" / "t.osd.safetensors"
    out.parent.mkdir()
    options: dict[str, Any] = {"budget": "5000", "calibration": str(calibration)}
    kill(models, out, "scales", large_models.LARGE, **options)
    names = [path.name for path in out.with_name(f".{out.name}.work").iterdir()]
    assert not any(name.startswith(("statistics", "columns")) for name in names)
    resumed = export_bytes(models, out.parent, refine="scales", **options)
    left = len(steps)
    assert export_bytes(models, out.parent, refine="scales", **options) == resumed
    assert len(steps) - left == left + DONE


def test_work_is_of_the_completions_too(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    models = open_fine_tuned(writer.model, writer.model.with_name("task0"))
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    other = [talk[0], {**talk[1], "content": "he"}]
    examples = [
        Example("hi", completion="ho"),
        Example("hi", completion="he"),
        Example("hi", messages=talk),
        Example("hi", messages=other),
        Example("hi"),
    ]
    keys = {work_key(models, [], [example], 0) for example in examples}
    assert len(keys) == len(examples)


def rows(models: Path) -> Path:
    return models / "examples.tsv"


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt
