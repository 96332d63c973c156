"""Every tracer gives the values of the first, for each family."""

import sys
from pathlib import Path

import numpy as np
import pytest

from osd_edge.errors import InputError
from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.exporters.graph.tracers import TRACERS, tracer_named
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime import EdgeSession
from tests.compatibility.saved_models import classifier
from tests.support import tiny

OTHERS = TRACERS[1:]


def is_there(name: str) -> bool:
    """Says whether the packages that the tracer needs are installed."""
    try:
        tracer_named(name)
    except InputError:
        return False
    return True


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_tracer_gives_the_values_of_the_first(family: str, name: str, tmp_path: Path) -> None:
    """The base, and a task at every layer, are compared on other sizes than were traced."""
    if not is_there(name):
        pytest.skip(f"the tracer {name} is not installed, or not for this transformers")
    base = tiny.make_base(family, tmp_path / "base")
    tiny.make_tuned(base, tmp_path / "tuned", task=classifier(family))
    export_base(base, tmp_path / TRACERS[0])
    export_base(base, tmp_path / name, tracer=name)
    export_task(
        base,
        tmp_path / "tuned",
        tmp_path / "task.osd.safetensors",
        method="truncsvd",
        budget="r=4",
        head=HeadOptions(values="fp32"),
    )
    first, other = (EdgeSession(tmp_path / x, threads=1) for x in (TRACERS[0], name))
    assert _of(other.manifest) == _of(first.manifest)
    for session in (first, other):
        session.load(tmp_path / "task.osd.safetensors")
    for rows, tokens in ((1, 1), (3, 11), (2, 30)):
        inputs = example(family, first.manifest, rows, tokens)
        real = inputs.get("attention_mask")
        for task in (None, "task"):
            one, two = (session.run(inputs, task=task) for session in (first, other))
            differ = np.abs(one.hidden - two.hidden)
            assert (differ if real is None else differ[real == 1]).max() <= 2e-5
            if one.logits is not None and two.logits is not None:
                assert np.abs(one.logits - two.logits).max() <= 1e-4


@pytest.mark.parametrize("name", OTHERS)
def test_a_tracer_that_is_not_installed_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needed = {"dynamo": "onnxscript", "optimum": "optimum.exporters.onnx.model_configs"}[name]
    monkeypatch.setitem(sys.modules, needed, None)
    monkeypatch.delitem(sys.modules, f"osd_edge.exporters.graph.tracers.{name}", raising=False)
    with pytest.raises(InputError, match="install") as caught:
        export_base(tmp_path / "nothing", tmp_path / "package", tracer=name)
    assert caught.value.code == "input.tracer"


def test_an_unknown_tracer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="torchscript") as caught:
        export_base(tmp_path / "nothing", tmp_path / "package", tracer="jit")
    assert caught.value.code == "input.tracer"


def example(family: str, manifest: BaseManifest, rows: int, tokens: int) -> dict[str, np.ndarray]:
    """Random inputs, with padding on either side where there are rows enough."""
    random = np.random.default_rng(rows)
    if family == "vit":
        return {"pixel_values": random.normal(size=(rows, 3, 16, 16)).astype(np.float32)}
    made = {
        "input_ids": random.integers(4, 16, (rows, tokens)),
        "attention_mask": np.ones((rows, tokens), np.int64),
        "token_type_ids": np.zeros((rows, tokens), np.int64),
    }
    if rows > 1:
        made["attention_mask"][0, -2:] = 0
        made["attention_mask"][1, :1] = 0
    return {name: made[name] for name in manifest.inputs}


def _of(manifest: BaseManifest) -> object:
    return manifest.fingerprint, manifest.inputs, manifest.sites, manifest.hidden_size
