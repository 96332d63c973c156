"""Tasks as adapters: the same answers from stock onnxruntime, and from PEFT in torch."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from peft import PeftModel
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from osd_edge import TaskText, read_bundle_file, write_bundle
from osd_edge.errors import InputError
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.adapters.onnx_adapter import export_onnx_adapter
from osd_edge.exporters.adapters.peft_folder import export_peft
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.command_line import run_cli
from tests.support.families import Families
from tests.support.vectors import vectors_task

FAMILIES = ("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "albert", "gpt2")


@pytest.fixture(scope="module", params=FAMILIES)
def task(
    request: pytest.FixtureRequest, families: Families, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a base, its package and a bundle."""
    changes = {"pooler": False} if request.param == "bert" else {}
    family = families(request.param, **changes)
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("base", "package"):
        (folder / name).symlink_to(family / name)
    out = folder / "mr.osd.safetensors"
    export_task(family / "base", family / "tuned", out, method="truncsvd", budget="r=3")
    return folder


def answers(task: Path) -> tuple[Any, NDArray[Any], NDArray[Any]]:
    """Token inputs, and the hidden states and logits of our own session."""
    session = EdgeSession(task / "package", threads=1)
    session.activate(session.load(task / "mr.osd.safetensors"))
    inputs = session.encode(tiny.sentences(4, seed=6))
    output = session.run(inputs)
    assert output.logits is not None
    return inputs, output.hidden, output.logits


def by_hand(head: Path, hidden: NDArray[Any], mask: NDArray[Any], pooled: Any) -> NDArray[Any]:
    """The head as docs/adapters.md describes it."""
    description = json.loads(head.read_text("utf-8"))
    tensors = load_file(head.parent / description["tensors"])
    last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    x = {"cls": hidden[:, 0], "last": hidden[np.arange(len(hidden)), last], "pooler": pooled}[
        description["pooling"]
    ]
    for i, layer in enumerate(description["layers"]):
        x = x @ tensors[f"{i}.weight"].T + tensors.get(f"{i}.bias", np.float32(0))
        activation = layer["activation"] or ""
        if activation.startswith("gelu"):
            x = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
        if activation.endswith("-norm"):
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        if activation == "tanh":
            x = np.tanh(x)
        if activation == "relu":
            x = np.maximum(x, 0)
    return np.asarray(x)


def stock_run(package: Path, adapter_file: Path, inputs: Any) -> list[Any]:
    """Hidden states (and pooler output) of stock onnxruntime with an adapter."""
    how = ort.SessionOptions()  # with all optimisations, fp16 factors end the process before 1.30
    how.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    path = str(package / "model.onnx")
    session = ort.InferenceSession(path, how, providers=["CPUExecutionProvider"])
    adapter = ort.LoraAdapter()
    adapter.Load(str(adapter_file))
    options = ort.RunOptions()
    options.add_active_adapter(adapter)
    return list(session.run(None, inputs, options))


def test_stock_onnxruntime_gives_the_same_hidden_states(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, hidden, logits = answers(task)
    out = tmp_path / "mr.onnx_adapter"
    bundle, base = task / "mr.osd.safetensors", task / "package"
    result = run_cli(capsys, "export", "adapter", bundle, "--base", base, "-o", out)
    assert result.code == 0, result.err
    found = stock_run(base, out, inputs)
    assert np.array_equal(found[0], hidden)
    pooled = found[1] if len(found) > 1 else None
    ours = by_hand(tmp_path / "mr.head.json", found[0], inputs["attention_mask"], pooled)
    assert np.abs(ours - logits).max() <= 1e-5 * max(1, np.abs(logits).max())


def test_a_package_with_fp16_factors_takes_the_adapter_made_for_it(
    families: Families, tiny_models: Path, tmp_path: Path
) -> None:
    package = families.package("bert", factors="fp16")
    export_task(
        tiny_models / "base",
        tiny_models / "first",
        tmp_path / "mr.osd.safetensors",
        method="truncsvd",
        budget="r=3",
    )
    export_onnx_adapter(tmp_path / "mr.osd.safetensors", package, tmp_path / "mr.onnx_adapter")
    session = EdgeSession(package, threads=1)
    session.activate(session.load(tmp_path / "mr.osd.safetensors"))
    inputs = session.encode(tiny.sentences(4, seed=6))
    found = stock_run(package, tmp_path / "mr.onnx_adapter", inputs)
    assert np.array_equal(found[0], session.run(inputs).hidden)


def test_peft_gives_the_same_logits(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, logits = answers(task)
    bundle, package = task / "mr.osd.safetensors", task / "package"
    to = ("--to", "peft", "-o", tmp_path / "peft")
    result = run_cli(capsys, "export", "adapter", bundle, "--base", package, *to)
    assert result.code == 0, result.err
    base = AutoModelForSequenceClassification.from_pretrained(task / "base", num_labels=3)
    model = PeftModel.from_pretrained(base, tmp_path / "peft").eval()
    names = EdgeSession(task / "package", threads=1).manifest.inputs
    tokens = tiny.tokens_of(task / "base", tiny.sentences(4, seed=6), names)
    with torch.inference_mode():
        expected = model(**tokens).logits.numpy()
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    assert json.loads((tmp_path / "peft" / "osd_edge.json").read_text("utf-8"))["labels"] == [
        *tiny.LABELS
    ]


def test_an_adapter_under_another_name_is_refused(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, base = task / "mr.osd.safetensors", task / "package"
    out = tmp_path / "mr.lora"
    result = run_cli(capsys, "export", "adapter", bundle, "--base", base, "-o", out)
    assert result.code == 1 and "input.adapter" in result.err
    assert not any(tmp_path.iterdir())


def test_a_program_makes_the_tokens_of_a_task_that_cuts_texts_its_own_way(
    task: Path, tmp_path: Path
) -> None:
    """By what head.json says and the package's tokenizer, as docs/adapters.md describes them."""
    bundle = read_bundle_file(task / "mr.osd.safetensors")
    texts = [" ".join(tiny.sentences(30, seed=6)), "the cat sat"]
    for number, (text, version) in enumerate(
        [
            (None, 1),
            (TaskText(max_length=11), 1),
            (TaskText(max_length=12, truncation="left", prompt="a bird "), 2),
        ]
    ):
        path = tmp_path / f"t{number}.osd.safetensors"
        path.write_bytes(write_bundle(replace(bundle, text=text)))
        export_onnx_adapter(path, task / "package", tmp_path / f"t{number}.onnx_adapter")
        head = json.loads((tmp_path / f"t{number}.head.json").read_text("utf-8"))
        assert head["format"] == version
        said = head["text"]
        tokenizer = Tokenizer.from_file(str(task / "package" / "tokenizer.json"))
        tokenizer.enable_truncation(said["max_length"], direction=said.get("truncation", "right"))
        tokenizer.enable_padding(pad_id=said["pad_id"])
        with EdgeSession(task / "package", threads=1) as session:
            inputs = session.encode(texts, task=session.load(path))
        given = [said.get("prompt", "") + one for one in texts]
        found = [encoding.ids for encoding in tokenizer.encode_batch(given)]
        assert inputs["input_ids"].tolist() == found
        export_peft(path, task / "package", tmp_path / f"peft{number}")
        described = json.loads((tmp_path / f"peft{number}" / "osd_edge.json").read_text("utf-8"))
        assert described.get("text") == (None if text is None else text.described())


def test_changed_vectors_are_in_the_adapter_of_onnxruntime_alone(tmp_path: Path) -> None:
    tiny.make_base("bert", tmp_path / "base")
    package = tmp_path / "package"
    bundle = tmp_path / "t.osd.safetensors"
    vectors_task(export_base(tmp_path / "base", package, vectors=True), bundle, 0)
    with pytest.raises(InputError, match="changes 23 biases and norms") as refused:
        export_peft(bundle, package, tmp_path / "peft")
    assert refused.value.code == "input.adapter" and not (tmp_path / "peft").exists()
    export_onnx_adapter(bundle, package, tmp_path / "t.onnx_adapter")
    session = EdgeSession(package, threads=1)
    session.activate(session.load(bundle))
    inputs = session.encode(tiny.sentences(3))
    stock = ort.InferenceSession(package / "model.onnx")
    adapter = ort.LoraAdapter()
    adapter.Load(str(tmp_path / "t.onnx_adapter"))
    options = ort.RunOptions()
    options.add_active_adapter(adapter)
    hidden = stock.run(["last_hidden_state"], inputs, options)[0]
    assert np.abs(hidden - session.run(inputs).hidden).max() <= 1e-5
    session.deactivate()
    assert np.abs(hidden - session.run(inputs).hidden).max() > 0.05
