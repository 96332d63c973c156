"""What stays in memory, in fresh processes over MiniLM: idle tasks, and the small profile."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osd_edge.device_tests.gauges.memory import read_memory
from osd_edge.exporters import export_base
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.formats.bundle.integers import IntegerLayer, IntegerMatrix, IntegerSite
from osd_edge.formats.bundle.model import CODED, Bundle, StoredHead
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.coding.scales import snap_scales
from osd_edge.formats.package.manifest_reader import read_manifest

pytestmark = pytest.mark.skipif(read_memory() is None, reason="memory cannot be read here")

TASKS = 400
IDLE = """
import json, sys
import numpy as np
from osd_edge.device_tests.gauges.memory import read_memory
from osd_edge.runtime import EdgeSession

base, bundle, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
session = EdgeSession(base, threads=1)
inputs = {"input_ids": np.ones((1, 16), np.int64)}
session.run(inputs)
before = read_memory()
for i in range(count):
    session.load(bundle, name=f"task-{i}")
    assert session.labels(f"task-{i}")
session.run(inputs, task="task-7")
after = read_memory()
decoded = session._parts.tasks.resolve("task-7").nbytes
print(json.dumps([after.pss - before.pss, after.uss - before.uss, decoded]))
"""
PROFILE = """
import json, sys
import numpy as np
from osd_edge.device_tests.gauges.memory import read_memory
from osd_edge.runtime import EdgeSession

session = EdgeSession(sys.argv[1], threads=1, memory=sys.argv[2])
output = session.run({"input_ids": np.arange(1000, 1064).reshape(2, 32)})
print(json.dumps([read_memory().anonymous, output.hidden.ravel().tolist()]))
"""


def in_fresh_process(code: str, *arguments: object) -> Any:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minilm") / "base"
    export_base(minilm_folder(), folder)
    return folder


@pytest.fixture(scope="module")
def bundle(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of about 16 KiB with 77 labels, as sparse as those that osd-rd makes."""
    manifest = read_manifest(package)
    random = np.random.default_rng(0)

    def integers(rows: int, width: int) -> np.ndarray:
        size = (random.random((rows, width)) < 0.12) * random.geometric(0.7, (rows, width))
        size[:, 0] = 1
        signed: np.ndarray = (size * random.choice([-1, 1], size.shape)).astype(np.int32)
        return signed

    def scales(count: int) -> np.ndarray:
        return snap_scales(0.01 * random.random(count) + 0.01)

    sites = tuple(
        IntegerSite(i, integers(2, site.n), integers(2, site.d), scales(2))
        for i, site in enumerate(manifest.sites)
    )
    labels = tuple(f"a label of some length, number {i}" for i in range(77))
    layer = IntegerLayer(None, None, weight=IntegerMatrix(integers(77, 384), scales(77)))
    made = Bundle(
        task="many",
        task_version="1",
        labels=labels,
        base=manifest.fingerprint,
        site_count=len(manifest.sites),
        values=CODED,
        sites=sites,
        head=StoredHead("labels", "cls", (layer,)),
    )
    path = tmp_path_factory.mktemp("bundle") / "many.osd.safetensors"
    path.write_bytes(write_bundle(made))
    return path


@pytest.mark.alone(reason="pages shared with other processes count by their number")
def test_idle_tasks_take_little_more_than_their_files(package: Path, bundle: Path) -> None:
    pss, uss, decoded = in_fresh_process(IDLE, package, bundle, TASKS)
    allowed = 1.5 * TASKS * bundle.stat().st_size + decoded
    assert TASKS * bundle.stat().st_size < pss <= allowed
    assert uss <= allowed


def test_the_small_profile_keeps_the_weights_in_their_file(package: Path) -> None:
    usual, hidden = in_fresh_process(PROFILE, package, "default")
    small, same = in_fresh_process(PROFILE, package, "low")
    linear = 4 * sum(site.n * site.d for site in read_manifest(package).sites)
    assert usual - small > 0.8 * linear
    assert np.abs(np.subtract(hidden, same)).max() < 1e-4
