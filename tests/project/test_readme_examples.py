"""The Python in the README and in docs/ runs as it stands there, over tiny models."""

import contextlib
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from osd_edge import read_bundle_file
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.adapters.onnx_adapter import export_onnx_adapter
from osd_edge.exporters.adapters.peft_folder import export_peft
from osd_edge.exporters.methods.factorize import changed_layers
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from tests.project.rooms import PROJECT
from tests.support import tiny
from tests.support.stock_genai import library
from tests.support.writers import Writer

# The bundles that the pages name, with the labels of their tasks.
TASKS = {"mr": ("negative", "positive"), "trec": ("person", "place", "number")}
# What the pages name, and where it is not what the block itself makes.
MADE = ("minilm", *(f"{name}.osd.safetensors" for name in TASKS))


QUERIES = {f"encoder.layer.{i}.attention.self.query" for i in range(2)}


def blocks() -> list[Any]:
    found = []
    for page in (PROJECT / "README.md", *sorted(PROJECT.glob("docs/*.md"))):
        text = page.read_text("utf-8")
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 2
            # As many lines before it as the page has, so that a traceback names the page's line.
            code = "\n" * (line - 1) + match[1]
            found.append(pytest.param(page, code, id=f"{page.name}:{line}"))
    return found


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the pages name."""
    folder = tmp_path_factory.mktemp("named")
    base = tiny.make_base("bert", folder / "path" / "to" / "base")
    export_base(base, folder / "minilm")
    for seed, (name, labels) in enumerate(TASKS.items(), 1):
        model = folder / "path" / "to" / ("classifier" if name == "mr" else name)
        tiny.make_tuned(base, model, labels=labels, seed=seed)
        bundle = folder / f"{name}.osd.safetensors"
        export_task(base, model, bundle, method="truncsvd", budget="r=4")
    (folder / "sentences.txt").write_text("\n".join(tiny.sentences(40)) + "\n", "utf-8")
    mr = folder / "mr.osd.safetensors"
    export_onnx_adapter(mr, folder / "minilm", folder / "mr.onnx_adapter")
    for adapter in (folder / "mr-peft", folder / "path" / "to" / "adapter"):
        export_peft(mr, folder / "minilm", adapter)
    return folder


def writes(writer: Writer, folder: Path) -> None:
    """Makes what the pages name of a base that writes text, in `folder`."""
    shutil.copytree(writer.package, folder / "smollm2")
    export_onnx_adapter(writer.bundles[0], folder / "smollm2", folder / "snips.onnx_adapter")


def run(page: Path, code: str) -> dict[str, Any]:
    """Runs a block, and gives the names that it leaves."""
    names: dict[str, Any] = {"onnxruntime": onnxruntime, "tokens": _tokens()}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(page), "exec"), names)
    return names | {"printed": printed.getvalue()}


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(("page", "code"), blocks())
def test_python_in_the_documents_runs(
    page: Path,
    code: str,
    named: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if "onnxruntime_genai" in code:
        library()
        writes(request.getfixturevalue("tiny_llama"), tmp_path)
        monkeypatch.chdir(tmp_path)
        assert run(page, code)["generator"].is_done()
        return
    exports = "osd_edge.exporters" in code
    made = shutil.ignore_patterns(*MADE) if exports else None
    shutil.copytree(named, tmp_path / "folder", ignore=made)
    monkeypatch.chdir(tmp_path / "folder")
    left = run(page, code)
    if exports:
        assert Path("minilm/manifest.json").is_file()
        assert read_bundle_file("mr.osd.safetensors").labels == TASKS["mr"]
        size = Path("mr.osd.safetensors").stat().st_size
        assert left["printed"].startswith(f"{size} Score(") and size <= 16384
    elif "EdgeSession" in code:
        session = left["session"]
        assert (session.tasks, session.active) == (("mr", "trec"), None)
    elif "LoraAdapter" in code:
        assert left["hidden"].shape == (1, 4, 32) and left["pooled"].shape == (1, 32)
    elif "merge_and_unload" in code:
        models = open_fine_tuned("path/to/base", "merged")
        assert changed_layers(models.backbone, models.tuned, QUERIES)
    elif "PeftModel" in code:
        assert left["model"].peft_config["default"].target_modules
    else:
        assert left["printed"].startswith("# What tasks cost on this device")


def test_the_readme_has_a_block_for_each_side() -> None:
    readme = [str(one.values[1]) for one in blocks() if one.values[0].name == "README.md"]
    for side in ("osd_edge.runtime", "osd_edge.exporters"):
        assert any(f"from {side} import" in code for code in readme), side


def _tokens() -> dict[str, Any]:
    ids = np.array([[2, 5, 6, 3]])
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
