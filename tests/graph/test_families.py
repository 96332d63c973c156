"""Every family, against torch: the base alone, and tasks of each method and value type."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.exporters.models.families import known_families, load_family, parse_family
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import WithDelta
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.package.manifest import WEIGHTS
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.decoders import DECODERS
from tests.support.families import Families

# The family, and changes to its configuration.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "bert-no-pooler": ("bert", {"pooler": False}),
    "roberta": ("roberta", {"pooler": False}),
    "roberta-pooler": ("roberta", {}),
    "distilbert": ("distilbert", {}),
    "opt": ("opt", {}),
    "opt-no-projection": ("opt", {"word_embed_proj_dim": 32}),
    "xlm-roberta": ("xlm-roberta", {"pooler": False}),
    "mpnet": ("mpnet", {}),
    "electra": ("electra", {}),
    "albert": ("albert", {}),
    "albert-no-pooler": ("albert", {"pooler": False}),
    "modernbert": ("modernbert", {}),
    "modernbert-mean": ("modernbert", {"classifier_pooling": "mean", "norm_bias": True}),
    "deberta-v2": ("deberta-v2", {}),
    "gpt2": ("gpt2", {}),
}
EVERY_METHOD = ("bert", "bert-no-pooler", "roberta", "distilbert", "opt", "gpt2")


@pytest.fixture(scope="module", params=VARIANTS)
def family(request: pytest.FixtureRequest, families: Families) -> Path:
    """A folder with a base, a classifier, a base package and labelled examples."""
    name, changes = VARIANTS[request.param]
    return families(name, **changes)


def batches() -> list[list[str]]:
    """Texts of several lengths and batch sizes, so that rows are padded."""
    return [
        tiny.sentences(1, seed=1),
        tiny.sentences(2, seed=2),
        tiny.sentences(7, seed=3, longest=40),
    ]


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert np.abs(ours - theirs).max() <= 1e-4 * max(1, np.abs(theirs).max())


def assert_task_equals(family: Path, bundle: Path, model: Any) -> None:
    """Logits of the device with `bundle` are those of the torch model, on every batch."""
    session = EdgeSession(family / "package", threads=1)
    session.activate(session.load(bundle))
    for texts in batches():
        tokens = tiny.tokens_of(family / "base", texts, session.manifest.inputs)
        with torch.inference_mode():
            expected = model(**tokens).logits.numpy()
        logits = session.run(session.encode(texts)).logits
        assert logits is not None
        assert_close(logits, expected)


def test_base_equals_torch(family: Path) -> None:
    session = EdgeSession(family / "package", threads=1)
    model = AutoModel.from_pretrained(family / "base").eval()
    for texts in batches():
        tokens = tiny.tokens_of(family / "base", texts, session.manifest.inputs)
        with torch.inference_mode():
            expected = model(**tokens)
        output = session.run(session.encode(texts))
        real = tokens["attention_mask"].numpy() == 1
        assert_close(output.hidden[real], expected.last_hidden_state.numpy()[real])
        if output.pooled is not None:
            assert_close(output.pooled, expected.pooler_output.numpy())


@pytest.mark.parametrize("family", EVERY_METHOD, indirect=True)
@pytest.mark.parametrize(
    ("method", "budget", "values", "head"),
    [
        ("truncsvd", "r=2", "fp32", HeadOptions()),
        ("magtruncsvd", "r=1", "fp16", HeadOptions(values="int8")),
        ("osd", "r=1", "int8", HeadOptions(values="fp16", rank=3)),
        ("osd", "24KiB", "fp32", HeadOptions()),
    ],
)
def test_task_equals_torch_with_decoded_delta(
    family: Path, tmp_path: Path, method: str, budget: str, values: str, head: HeadOptions
) -> None:
    path = tmp_path / "task.osd.safetensors"
    export_task(
        family / "base",
        family / "tuned",
        path,
        method=method,
        budget=budget,
        values=values,
        head=head,
        calibration=family / "examples.tsv",
    )
    pair = open_fine_tuned(family / "base", family / "tuned")
    bundle = read_bundle_file(path)
    model = TaskModel(pair.backbone, pair.tuned)
    with model.at(WithDelta(bundle.sites, bundle.head)) as module:
        assert_task_equals(family, path, module)


def test_a_coded_task_equals_torch(family: Path, tmp_path: Path) -> None:
    """The default method, whose statistics run through every layer of the family."""
    path = tmp_path / "task.osd.safetensors"
    report = export_task(
        family / "base",
        family / "tuned",
        path,
        budget="6KiB",
        refine="none",
        calibration=family / "examples.tsv",
    )
    assert report.sites and report.size <= 6 * 1024
    pair = open_fine_tuned(family / "base", family / "tuned")
    bundle = read_bundle_file(path)
    model = TaskModel(pair.backbone, pair.tuned)
    with model.at(WithDelta(bundle.sites, bundle.head)) as module:
        assert_task_equals(family, path, module)


def test_full_rank_gives_back_the_fine_tuned_model(family: Path, tmp_path: Path) -> None:
    """What stays out (embeddings, biases, LayerNorms) is set to the base's in the reference."""
    path = tmp_path / "task.osd.safetensors"
    export_task(
        family / "base",
        family / "tuned",
        path,
        method="truncsvd",
        budget="r=64",
        head=HeadOptions(values="fp32"),
    )
    pair = open_fine_tuned(family / "base", family / "tuned")
    reference = AutoModelForSequenceClassification.from_pretrained(family / "tuned").eval()
    linear = {f"{layer.name}.weight" for layer in pair.backbone.layers}
    prefix = f"{reference.base_model_prefix}."
    with torch.no_grad():
        for full_name, parameter in reference.named_parameters():
            name = full_name.removeprefix(prefix)
            if name in pair.backbone.parameters and name not in linear:
                parameter.copy_(pair.backbone.checkpoint.float32(name))
    assert_task_equals(family, path, reference)


def test_any_mask_equals_torch(family: Path) -> None:
    """Padding on the left, and a hole in the middle: not what `classify` makes, but allowed."""
    session = EdgeSession(family / "package", threads=1)
    model = AutoModel.from_pretrained(family / "base").eval()
    ids = np.random.default_rng(0).integers(4, 16, (3, 9))
    mask = np.ones_like(ids)
    mask[0, :4] = 0
    mask[1, 5] = 0
    mask[2, 6:] = 0
    output = session.run({"input_ids": ids, "attention_mask": mask})
    with torch.inference_mode():
        expected = model(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).last_hidden_state.numpy()
    assert_close(output.hidden[mask == 1], expected[mask == 1])


def test_a_layer_that_is_used_often_is_stored_once(tmp_path: Path) -> None:
    """ALBERT of six layers takes no more room than of one, but for nodes in the graph."""
    sizes = []
    for layers in (1, 6):
        base = tiny.make_base("albert", tmp_path / f"base{layers}", num_hidden_layers=layers)
        manifest = export_base(base, tmp_path / f"package{layers}")
        sizes.append(manifest.files[WEIGHTS]["bytes"])
        assert sum(site.u is not None for site in manifest.sites) == 8
    assert sizes[0] == sizes[1]


def test_every_family_is_data_and_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "families.md").read_text("utf-8")
    named = {name for name, _ in VARIANTS.values()} | {"vit"} | set(DECODERS)
    assert set(known_families()) == named
    for name in known_families():
        family = load_family(name)
        assert family.inputs and "sequence" in family.heads
        assert f"`{name}`" in page
    example = page.split("```toml\n")[1].split("```")[0]
    assert parse_family("electra", tomllib.loads(example)) == load_family("electra")


@pytest.mark.parametrize(
    "mistake",
    [
        {"heads": {"sequences": {"layers": [{"path": "classifier"}]}}},
        {"heads": {"sequence": {"layers": [{"name": "classifier"}]}}},
        {"fusions": "bert"},
    ],
)
def test_a_mistake_in_a_family_is_told(mistake: dict[str, Any]) -> None:
    right = {"inputs": ["input_ids"], "heads": {"tokens": {"layers": [{"path": "classifier"}]}}}
    assert parse_family("new", right).heads["tokens"].pooling == "none"
    with pytest.raises((TypeError, ValueError)):
        parse_family("new", right | mistake)
