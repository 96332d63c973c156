"""Vectors are those of sentence-transformers' own `encode`: of long texts, and behind prompts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osd_edge.exporters import HeadOptions, export_task
from osd_edge.exporters.methods.report import TaskReport
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.families import Families
from tests.support.kinds import make_embedding

library = pytest.importorskip("sentence_transformers", reason="sentence-transformers saves models")

TEXTS = [" ".join(tiny.sentences(30, seed=seed)) for seed in (5, 6)] + ["the cat sat", ""]
PROMPTS = {"query": "the bird sat ", "passage": "a mat "}


def saved(base: Path, folder: Path, tokenizer: dict[str, Any], settings: dict[str, Any]) -> Any:
    """A model over `base` with these settings, as the installed release saves it."""
    body = make_embedding(base, folder / "body")
    file = body / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | tokenizer), "utf-8")
    model = library.SentenceTransformer(str(body), device="cpu", **settings)
    model.save(str(folder / "saved"))
    return model


def exported(base: Path, folder: Path) -> TaskReport:
    head = HeadOptions(values="fp32")
    path = folder / "vectors.osd.safetensors"
    return export_task(base, folder / "saved", path, method="truncsvd", budget="r=64", head=head)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(
    ("tokenizer", "settings", "text"),
    [
        ({}, {}, {}),
        ({"model_max_length": 17}, {}, {"max_length": 17}),
        (
            {"model_max_length": 18, "truncation_side": "left"},
            {"prompts": PROMPTS, "default_prompt_name": "query"},
            {"max_length": 18, "truncation": "left", "prompt": PROMPTS["query"]},
        ),
        (
            {},
            {"prompts": PROMPTS, "default_prompt_name": "passage"},
            {"prompt": PROMPTS["passage"]},
        ),
    ],
    ids=["usual", "short", "all", "prompt"],
)
def test_vectors_are_those_of_encode(
    families: Families,
    tmp_path: Path,
    family: str,
    tokenizer: dict[str, Any],
    settings: dict[str, Any],
    text: dict[str, Any],
) -> None:
    made = families(family)
    model = saved(made / "base", tmp_path, tokenizer, settings)
    report = exported(made / "base", tmp_path)
    assert report.text == text
    default = settings.get("default_prompt_name")
    others = {} if default is None else PROMPTS.items() - {(default, PROMPTS[default])}
    assert report.prompts == dict(others)
    with EdgeSession(made / "package", threads=1) as session:
        session.activate(session.load(tmp_path / "vectors.osd.safetensors"))
        np.testing.assert_allclose(session.embed(TEXTS), model.encode(TEXTS), atol=1e-5)
