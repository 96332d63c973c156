"""The benchmark of large models runs, on shapes of a few hundred features."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from benchmarks import at_size, at_size_models
from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
from osd_edge.formats.bundle.reader import read_bundle_file


@pytest.mark.slow(reason="makes, exports and runs two models whose layers are wide")
def test_the_benchmark_runs_its_stages(tmp_path: Path, large: pytest.MonkeyPatch) -> None:
    """Shapes of a few hundred features in the place of the real ones."""
    small = {"hidden_size": 64, "vocab_size": 4100, "max_position_embeddings": 200}
    for name, more in (("roberta-large", {"intermediate_size": 96}), ("opt-1.3b", {"ffn_dim": 96})):
        shape = at_size_models.MODELS[name]
        width = {"word_embed_proj_dim": 64} if name == "opt-1.3b" else {}
        settings = shape.settings | small | more | width
        made = at_size_models.Shape(2, shape.kind, settings, shape.dtype)
        large.setitem(at_size_models.MODELS, name, made)
        options = {"model": name, "layers": 2, "refine": "scales", "steps": 2, "budget": "24KiB"}
        options |= {"weights": "fp32", "jobs": 2}
        large.setitem(REFINEMENTS, "scales", REFINEMENTS["scales"])  # put back after the test
        stages = {
            stage: at_size.run_stage(stage, tmp_path / name, options) for stage in at_size.STAGES
        }
        page = at_size.markdown({"options": options, "stages": stages})
        assert page.count("**") == 2 * len(at_size.STAGES)
        assert all(found["peak_rss_bytes"] > 0 for found in stages.values())
        bundle = read_bundle_file(tmp_path / name / "task-calibrated.osd.safetensors")
        assert bundle.scores is not None and bundle.sites


def test_the_benchmark_goes_on_with_the_same_options_alone(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": "opt-1.3b", "steps": 2}
    done = {"options": options, "stages": {"models": {"cpu_s": 1.0}}}
    (tmp_path / "report.json").write_text(json.dumps(done), "utf-8")
    assert at_size.begun_report(tmp_path, options) == done
    other = options | {"steps": 3}
    assert at_size.begun_report(tmp_path, other) == {"options": other, "stages": {}}


def test_a_stage_that_is_out_of_time_is_stopped_and_says_so(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": "roberta-large", "layers": 2}
    with pytest.raises(click.ClickException, match="the same command goes on"):
        at_size.in_process("models", tmp_path, options, end=0.0)
    assert (tmp_path / "models.stopped").exists()
    stage = {"wall_s": 1, "cpu_s": 1, "steps": [], "resumed": True}
    given = options | {"refine": "scales", "budget": "1MiB"}
    assert "its last run" in at_size.markdown({"options": given, "stages": {"task": stage}})
