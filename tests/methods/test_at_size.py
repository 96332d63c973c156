"""The benchmark of large models runs, on shapes of a few hundred features."""

from pathlib import Path

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
