"""The folder in which the export of a large model keeps finished work: taken up, never shared."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from filelock import FileLock

from osd_edge.errors import BudgetError, Code, OutputError
from osd_edge.exporters import TaskExporter, export_task
from osd_edge.exporters import task as task_bundle
from osd_edge.exporters.methods.osd_rd import compress, sites, whitening
from osd_edge.exporters.methods.osd_rd.statistics import Statistics
from osd_edge.exporters.methods.osd_rd.whitening import whitened_svd
from osd_edge.formats.bundle.reader import read_bundle_file
from tests.support.exports import export_bytes

_KILLED = """
import os, signal, sys
from pathlib import Path
from osd_edge.exporters import export_task
from osd_edge.exporters.models import large

large.LARGE = 0
models, out = map(Path, sys.argv[1:])

def progress(items, label, total=None):
    for i, item in enumerate(items):
        if label == "Whitened SVD" and i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

export_task(models / "base", models / "first", out, budget="4KiB", name="t", refine="none",
            calibration=models / "examples.tsv", progress=progress)
"""


@pytest.mark.slow(reason="exports in a process of its own")
def test_a_killed_export_takes_up_where_it_was(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.osd.safetensors"
    done = subprocess.run([sys.executable, "-c", _KILLED, tiny_models, out], check=False)
    assert done.returncode == -9 and not out.exists()
    (work,) = tmp_path.iterdir()
    finished = sorted(work.glob("columns-*"))
    assert len(finished) >= 5
    # One of them is damaged since, and one is of another export.
    data = bytearray(finished[0].read_bytes())
    data[-1] ^= 1
    finished[0].write_bytes(data)
    finished[1].write_bytes(finished[1].read_bytes().replace(b'"key":"', b'"key":"0', 1))
    computed = []

    def count(delta: torch.Tensor, statistics: Statistics) -> whitening.Columns:
        computed.append(delta)
        return whitened_svd(delta, statistics)

    def no_statistics(*_: Any) -> None:
        raise AssertionError("statistics were finished")

    large.setattr(sites, "whitened_svd", count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compress, "collect_statistics", no_statistics)
        found = export_bytes(tiny_models, tmp_path, calibration=tiny_models / "examples.tsv")
    layers = len(read_bundle_file(out).sites)
    assert 2 <= len(computed) <= layers - 3
    assert list(tmp_path.iterdir()) == [out]
    computed.clear()
    assert export_bytes(tiny_models, tmp_path, calibration=tiny_models / "examples.tsv") == found
    assert len(computed) >= layers


def test_a_folder_of_someone_else_is_left_alone(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    other = tmp_path / ".t.osd.safetensors.work"
    other.mkdir()
    (other / "notes").write_text("mine", "utf-8")
    with pytest.raises(OutputError) as refusal:
        export_bytes(tiny_models, tmp_path)
    assert refusal.value.code == "output.exists"
    assert (other / "notes").read_text("utf-8") == "mine"


def test_a_refusal_leaves_no_work_but_deletes_none(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.osd.safetensors"
    models = (tiny_models / "base", tiny_models / "first", out)
    with pytest.raises(BudgetError):
        export_task(*models, budget="100")
    assert not any(tmp_path.iterdir())
    work = tmp_path / f".{out.name}.work"
    work.mkdir()
    (work / "osd-edge-work").touch()  # of an export that was broken off
    (work / "columns-x.safetensors").write_bytes(b"hours")
    with pytest.raises(BudgetError):
        export_task(*models, budget="100")
    assert (work / "columns-x.safetensors").read_bytes() == b"hours"


_HOLDS = """
import sys
from pathlib import Path
from osd_edge.exporters import export_task
from osd_edge.exporters.models import large

large.LARGE = 0
models, out = map(Path, sys.argv[1:])

def progress(items, label, total=None):
    for i, item in enumerate(items):
        if label == "Whitened SVD" and i == 5:
            print("at work", flush=True)
            sys.stdin.readline()
        yield item

export_task(models / "base", models / "first", out, budget="4KiB", refine="none", seed=1,
            calibration=models / "examples.tsv", progress=progress)
"""


@pytest.mark.slow(reason="exports in a process of its own")
def test_two_exports_do_not_share_a_work_folder(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.osd.safetensors"
    command = [sys.executable, "-c", _HOLDS, str(tiny_models), str(out)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout is not None and other.stdout.readline() == "at work\n"
        finished = sorted(out.with_name(f".{out.name}.work").glob("columns-*"))
        with pytest.raises(OutputError) as refusal:
            export_bytes(tiny_models, tmp_path, calibration=tiny_models / "examples.tsv")
        assert refusal.value.code == "output.busy"
        assert finished and all(file.exists() for file in finished)
        other.communicate("\n")
    assert other.returncode == 0 and list(tmp_path.iterdir()) == [out]
    first = out.read_bytes()
    second = export_bytes(tiny_models, tmp_path, calibration=tiny_models / "examples.tsv")
    assert first != second and list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("where", ["facts", "model"])
def test_finished_work_of_other_numbers_is_not_taken_up(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch, where: str
) -> None:
    base, tuned = (tmp_path / name for name in ("base", "tuned"))
    for name, folder in (("base", base), ("first", tuned)):
        shutil.copytree(tiny_models / name, folder)
    out = tmp_path / "out" / "t.osd.safetensors"
    out.parent.mkdir()
    with large.context() as patch:
        full = OutputError(Code.OUTPUT_DISK_FULL, "no space left")
        patch.setattr(task_bundle, "write_file", Mock(side_effect=full))
        with pytest.raises(OutputError):
            export_task(base, tuned, out, refine="none", calibration=tiny_models / "examples.tsv")
    for file in out.with_name(f".{out.name}.work").glob("*.safetensors"):
        if where == "facts":  # a digit of a number that is in no tensor
            data = file.read_bytes()
            file.write_bytes(re.sub(rb'(weight\\": \d\.)\d', rb"\g<1>9", data, count=1))
    if where == "model":
        for folder in (base, tuned):
            config = json.loads((folder / "config.json").read_text("utf-8"))
            (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    options: dict[str, Any] = {"refine": "none", "calibration": tiny_models / "examples.tsv"}
    export_task(base, tuned, out, **options)
    resumed = out.read_bytes()
    export_task(base, tuned, out, **options)
    assert out.read_bytes() == resumed


def test_an_export_by_another_method_ends_the_work_on_that_file(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.osd.safetensors"
    work = tmp_path / f".{out.name}.work"
    work.mkdir()
    (work / "osd-edge-work").touch()  # of an export that was broken off
    (work / "columns-x.safetensors").write_bytes(b"hours")
    with FileLock(work / "lock"), pytest.raises(OutputError) as refusal:
        export_task(tiny_models / "base", tiny_models / "first", out, method="truncsvd")
    assert refusal.value.code == "output.busy" and work.exists()
    export_task(tiny_models / "base", tiny_models / "first", out, method="truncsvd")
    assert list(tmp_path.iterdir()) == [out]


def test_a_closed_exporter_leaves_the_folder_to_others(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    work, out = tmp_path / "work", tmp_path / "t.osd.safetensors"
    models = (tiny_models / "base", tiny_models / "first")
    first = TaskExporter(*models, work=work)
    first.export(out, budget="4KiB", refine="none")
    before = out.read_bytes()
    first.close(done=False)
    second = TaskExporter(*models, work=work)
    second.export(out, budget="4KiB", refine="none")
    first.close()
    assert any(work.glob("columns-*"))
    first.export(out, budget="4KiB", refine="none")
    assert out.read_bytes() == before
    second.close()
    assert not work.exists()


def test_a_full_disk_keeps_finished_work(
    tiny_models: Path, tmp_path: Path, large: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OutputError(Code.OUTPUT_DISK_FULL, f"no space left to write {path}")

    large.setattr(task_bundle, "write_file", full)
    with pytest.raises(OutputError):
        export_bytes(tiny_models, tmp_path)
    (work,) = tmp_path.iterdir()
    assert any(work.glob("columns-*"))
