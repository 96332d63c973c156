"""How a model's own software makes tokens of texts is found, however it is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from osd_edge import TaskText
from osd_edge.errors import ModelError
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.models.head_plan import kind_of
from osd_edge.exporters.models.task_text import TaskTexts, task_texts
from tests.support.checkpoints import write_adapter
from tests.support.kinds import make_embedding

TOKENIZER = "tokenizer_config.json"
STAGE = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"


@pytest.fixture(scope="module")
def models(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base and an embedding model over it, not to be changed."""
    folder = tmp_path_factory.mktemp("embedding")
    make_embedding(tiny_models / "base", folder / "embedding")
    shutil.copytree(tiny_models / "base", folder / "base")
    return folder


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(models, tmp_path / "models"))


def edit(file: Path, **settings: Any) -> None:
    """Gives a JSON file these settings, and those that are None no more."""
    fields = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    fields |= settings
    file.write_text(json.dumps({k: v for k, v in fields.items() if v is not None}), "utf-8")


def texts_of(folder: Path, kind: str = "embedding") -> TaskTexts:
    return task_texts(Checkpoint(folder / "base"), Checkpoint(folder / "embedding"), kind)


def refused(action: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ModelError) as caught:
        action()
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    ("file", "settings", "expected", "most"),
    [
        (TOKENIZER, {}, None, 64),
        (TOKENIZER, {"model_max_length": 16}, TaskText(max_length=16), 16),
        (TOKENIZER, {"truncation_side": "left"}, TaskText(truncation="left"), 64),
        (STAGE, {"max_seq_length": 12, "do_lower_case": False}, TaskText(max_length=12), 12),
        (STAGE, {"max_seq_length": None}, None, 64),
        ("sentence_roberta_config.json", {"max_seq_length": 9}, TaskText(max_length=9), 9),
        (
            STAGE,
            {
                "transformer_task": "feature-extraction",
                "modality_config": {"text": {"method": "forward"}},
                "processing_kwargs": {"text": {"max_length": 8, "truncation": True}},
            },
            TaskText(max_length=8),
            8,
        ),
        (STAGE, {"processor_kwargs": {"model_max_length": 7}}, TaskText(max_length=7), 7),
    ],
)
def test_what_the_base_does_not_do_by_itself_is_said(
    copied: Path, file: str, settings: dict[str, Any], expected: TaskText | None, most: int
) -> None:
    edit(copied / "embedding" / file, **settings)
    found = texts_of(copied)
    assert (found.text, found.most, found.longer) == (expected, most, None)


def test_sentence_transformers_own_bound_counts_before_its_tokenizer_s(copied: Path) -> None:
    edit(copied / "embedding" / TOKENIZER, model_max_length=16)
    edit(copied / "embedding" / STAGE, max_seq_length=32)
    assert texts_of(copied).text == TaskText(max_length=32)


@pytest.mark.parametrize("longest", [10**30, 300])
def test_a_base_that_cuts_sooner_is_named(copied: Path, longest: int) -> None:
    """A bundle cannot give its base more tokens."""
    edit(copied / "base" / TOKENIZER, model_max_length=24)
    edit(copied / "embedding" / TOKENIZER, model_max_length=longest)
    found = texts_of(copied)
    assert (found.text, found.most, found.longer) == (None, 24, 64)


def test_a_base_whose_tokenizer_cuts_on_the_left_does_so_in_no_package(copied: Path) -> None:
    for name in ("base", "embedding"):
        edit(copied / name / TOKENIZER, truncation_side="left")
    assert texts_of(copied).text == TaskText(truncation="left")
    for file in (copied / "embedding").glob("*token*"):
        file.unlink()
    assert texts_of(copied).text == TaskText(truncation="left")  # its own is the base's then


def test_the_default_prompt_is_said_and_the_others_are_named(copied: Path) -> None:
    prompts = {"query": "query: ", "document": "", "passage": "passage: ", "unset": None}
    file = copied / "embedding" / PROMPTS
    file.write_text(json.dumps({"prompts": prompts, "default_prompt_name": "query"}), "utf-8")
    found = texts_of(copied)
    assert found.text == TaskText(prompt="query: ") and found.prompt == "query: "
    assert found.prompts == {"passage": "passage: "}
    edit(file, default_prompt_name=None)
    found = texts_of(copied)
    assert found.text is None
    assert found.prompts == {"query": "query: ", "passage": "passage: "}
    edit(file, default_prompt_name="document")  # which is empty
    assert texts_of(copied).text is None


def _prompt(text: str) -> dict[str, Any]:
    return {"prompts": {"q": text}, "default_prompt_name": "q"}


def test_tags_and_written_text_have_no_prompt(copied: Path) -> None:
    edit(copied / "embedding" / PROMPTS, prompts={"q": "query: "}, default_prompt_name="q")
    assert texts_of(copied, "token-labels").text is None
    assert texts_of(copied, "labels").text == TaskText(prompt="query: ")
    assert texts_of(copied, "generate") == TaskTexts()


@pytest.mark.parametrize(
    ("file", "settings", "code", "words"),
    [
        (STAGE, {"max_seq_length": 0}, "model.head", "whole number of 1 or more"),
        (STAGE, {"max_seq_length": "12"}, "model.head", "max_seq_length is '12'"),
        (STAGE, {"do_lower_case": True}, "model.tokenizer", "lower case"),
        (STAGE, {"modality_config": {"message": {}}}, "model.head", "chat template"),
        (STAGE, {"modality_config": 5}, "model.head", "modality_config"),
        (STAGE, {"tokenizer_args": {"do_basic_tokenize": False}}, "model.head", "remove it"),
        (STAGE, {"processing_kwargs": {"text": {"truncation": False}}}, "model.head", "remove it"),
        (STAGE, {"processing_kwargs": ["text"]}, "model.head", "remove it"),
        (PROMPTS, {"default_prompt_name": "q"}, "model.head", "found prompts none"),
        (PROMPTS, {"prompts": {"q": 1}}, "model.head", "texts by name"),
        (PROMPTS, {"default_prompt_name": []}, "model.head", "found prompts none"),
        (PROMPTS, _prompt("x" * 4097), "model.head", "4096 characters of Unicode"),
        (PROMPTS, _prompt("\ud800"), "model.head", "characters of Unicode"),
        (PROMPTS, {"truncate_dim": 16}, "model.head", "first numbers in the app"),
    ],
)
def test_what_a_bundle_cannot_say_is_refused(
    copied: Path, file: str, settings: dict[str, Any], code: str, words: str
) -> None:
    edit(copied / "embedding" / file, **settings)
    found = refused(lambda: open_fine_tuned(copied / "base", copied / "embedding"))
    assert found[0] == code and words in found[1]


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken"])
def test_a_pooling_without_its_prompt_is_refused_where_there_is_one(
    copied: Path, mode: str
) -> None:
    embedding = copied / "embedding"
    pooling = {"pooling_mode": mode, "include_prompt": False}
    (embedding / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")
    edit(embedding / PROMPTS, prompts={"q": "query: "})
    assert open_fine_tuned(copied / "base", embedding).texts.prompts == {"q": "query: "}
    edit(embedding / PROMPTS, default_prompt_name="q")
    if mode == "lasttoken":  # which is no token of the prompt
        assert open_fine_tuned(copied / "base", embedding).texts.prompt == "query: "
    else:
        code, words = refused(lambda: open_fine_tuned(copied / "base", embedding))
        assert code == "model.head" and "include_prompt" in words


def test_a_normalisation_of_tokens_is_refused(copied: Path) -> None:
    embedding = copied / "embedding"
    (embedding / "2_Normalize").mkdir()
    file = embedding / "2_Normalize" / "config.json"
    edit(file, module_input_name="sentence_embedding", module_output_name="sentence_embedding")
    assert open_fine_tuned(copied / "base", embedding).head.normalize
    edit(file, module_input_name="token_embeddings")
    code, words = refused(lambda: open_fine_tuned(copied / "base", embedding))
    assert code == "model.head" and "token_embeddings" in words


@pytest.mark.parametrize(
    "stages",
    [
        ["models.Transformer", "models.Pooling", "models.Dense", "models.Normalize"],
        ["models.Transformer"],
        ["models.StaticEmbedding", "models.Pooling"],
        [],
    ],
)
def test_other_stages_are_refused_by_name(copied: Path, stages: list[str]) -> None:
    listed = [{"type": f"sentence_transformers.{name}", "path": ""} for name in stages]
    (copied / "embedding" / "modules.json").write_text(json.dumps(listed), "utf-8")
    code, words = refused(lambda: open_fine_tuned(copied / "base", copied / "embedding"))
    assert code == "model.head"
    assert (stages[-1].partition(".")[2] if stages else "no stage") in words


def test_a_transformer_in_a_folder_of_its_own_is_found(copied: Path) -> None:
    """The first releases wrote it so, with the stage's settings and the tokenizer beside it."""
    embedding = copied / "embedding"
    inner = embedding / "0_Transformer"
    inner.mkdir()
    for file in embedding.iterdir():
        if file.is_file() and file.name != "modules.json":
            file.rename(inner / file.name)
    stages = json.loads((embedding / "modules.json").read_text("utf-8"))
    stages[0]["path"] = "0_Transformer"
    (embedding / "modules.json").write_text(json.dumps(stages), "utf-8")
    edit(inner / STAGE, max_seq_length=12, do_lower_case=False)
    edit(embedding / PROMPTS, prompts={"q": "query: "}, default_prompt_name="q")
    models = open_fine_tuned(copied / "base", embedding)
    assert (models.head.pooling, models.head.normalize) == ("mean", True)
    assert models.texts.text == TaskText(max_length=12, prompt="query: ")
    whole = open_fine_tuned(copied / "base", embedding).tuned
    name = "encoder.layer.0.output.dense.weight"
    assert whole.float32(name).shape == whole.shape(name)
    base = Checkpoint(embedding)  # which other models may have been trained from
    assert base.folder == inner and base.home == embedding


@pytest.mark.parametrize("path", ["../other", "/etc", "0_Transformer/../../x", "x" * 999, "\0"])
def test_a_stage_elsewhere_is_refused(copied: Path, path: str) -> None:
    stages = [{"type": "sentence_transformers.models.Transformer", "path": path}]
    (copied / "embedding" / "modules.json").write_text(json.dumps(stages), "utf-8")
    code, words = refused(lambda: Checkpoint(copied / "embedding"))
    assert code == "model.head" and "malformed" in words


def test_a_model_that_was_trained_from_one_of_masked_words_embeds(copied: Path) -> None:
    edit(copied / "embedding" / "config.json", architectures=["BertForMaskedLM"])
    assert kind_of(Checkpoint(copied / "embedding")) == "embedding"


def test_an_adapter_of_an_embedding_pools_as_its_base_does(copied: Path) -> None:
    """Its texts too; PEFT writes no stages. Sentence-transformers does, beside the adapter."""
    adapter = write_adapter(copied / "lora", head=False, task_type="FEATURE_EXTRACTION")
    embedding = copied / "embedding"
    edit(embedding / STAGE, max_seq_length=12)

    def opened() -> tuple[str, bool, TaskText | None]:
        models = open_fine_tuned(embedding, None, adapters=[(adapter, 1.0)])
        return models.head.pooling, models.head.normalize, models.texts.text

    assert opened() == ("mean", True, TaskText(max_length=12))
    for name in ("modules.json", "1_Pooling"):
        copy = shutil.copytree if (embedding / name).is_dir() else shutil.copy
        copy(embedding / name, adapter / name)
    pooling = {"pooling_mode_cls_token": True}
    (adapter / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")
    edit(adapter / PROMPTS, prompts={"q": "query: "}, default_prompt_name="q")
    assert opened() == ("cls", True, TaskText(prompt="query: "))


def test_a_classifiers_adapter_has_no_texts_of_an_embedding_base(copied: Path) -> None:
    """It was trained by transformers, which reads nothing of sentence-transformers."""
    base = copied / "base"
    (base / "modules.json").write_bytes((copied / "embedding" / "modules.json").read_bytes())
    edit(base / STAGE, max_seq_length=12)
    edit(base / PROMPTS, prompts={"q": "query: "}, default_prompt_name="q")
    adapter = write_adapter(copied / "lora")
    models = open_fine_tuned(base, None, adapters=[(adapter, 1.0)])
    assert models.head.kind == "labels" and models.texts.text is None
