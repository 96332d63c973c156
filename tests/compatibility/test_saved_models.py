"""Models that another release of transformers saved are read, and fit each other's bundles."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.runtime import EdgeSession
from tests.compatibility.saved_models import FAMILIES, FIRST, MODELS

RELEASES = sorted(folder.name for folder in MODELS.iterdir())
OTHERS = [release for release in RELEASES if release != FIRST]


def test_releases_before_and_after_the_names_changed_are_there() -> None:
    assert {release.split(".")[0] for release in RELEASES} == {"4", "5"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_release_is_read_by_the_installed_one(family: str, tmp_path: Path) -> None:
    """Base of one release, fine-tuned of another: one fingerprint, and the answers of torch."""
    manifests = {}
    for release in RELEASES:
        manifests[release] = export_base(MODELS / release / family / "base", tmp_path / release)
    assert len({manifest.fingerprint for manifest in manifests.values()}) == 1
    assert len({manifest.sites for manifest in manifests.values()}) == 1
    for base, tuned in [*((FIRST, other) for other in OTHERS), (OTHERS[-1], FIRST)]:
        path = tmp_path / "task.osd.safetensors"
        export_task(
            MODELS / base / family / "base",
            MODELS / tuned / family / "tuned",
            path,
            method="truncsvd",
            budget="r=16",
            head=HeadOptions(values="fp32"),
        )
        answers = load_file(MODELS / FIRST / family / "answers.safetensors")
        session = EdgeSession(tmp_path / tuned, threads=1)
        inputs = {name: answers[name] for name in session.manifest.inputs}
        real = inputs.get("attention_mask", np.ones(answers["hidden"].shape[:2])) == 1
        assert np.abs(session.run(inputs).hidden - answers["hidden"])[real].max() <= 1e-4
        session.activate(session.load(path))
        logits = session.run(inputs).logits
        assert logits is not None and np.abs(logits - answers["logits"]).max() <= 1e-4
        if session.manifest.text is not None:
            encoded = session.encode(["the cat sat", "a dog ran over the mat"])
            assert encoded["input_ids"].tolist() == inputs["input_ids"].tolist()
