"""The files that genai reads: which packages have them, and that those without them still open."""

import json
from pathlib import Path

import onnx
import pytest

from osd_edge import BaseError, read_manifest
from osd_edge.exporters.genai.config import GENAI_CONFIG, genai_config
from osd_edge.exporters.genai.tokenizer import TOKENIZER_CONFIG
from osd_edge.formats.package.generation import Generation
from osd_edge.formats.package.manifest import MANIFEST, MODEL
from osd_edge.formats.package.manifest_reader import check_digests
from osd_edge.runtime import EdgeSession
from tests.support.packages import change_graph, copied
from tests.support.writers import Writer

COUNT = 12


@pytest.mark.parametrize("name", [GENAI_CONFIG, TOKENIZER_CONFIG])
def test_a_file_that_was_changed_is_found(name: str, tiny_llama: Writer, tmp_path: Path) -> None:
    package = copied(tiny_llama.package, tmp_path / "package")
    data = bytearray((package / name).read_bytes())
    data[-5] ^= 1
    (package / name).write_bytes(data)
    with pytest.raises(BaseError, match=name) as refused:
        check_digests(package, read_manifest(package))
    assert refused.value.code == "base.digest"


def test_a_package_of_before_opens_and_writes_the_same(tiny_llama: Writer, tmp_path: Path) -> None:
    """Without the files of genai's, and with logits of a length that is not said."""
    package = copied(tiny_llama.package, tmp_path / "package")
    change_graph(package, lengths_unsaid)
    fields = json.loads((package / MANIFEST).read_text())
    del fields["made"]["genai"]
    for name in (GENAI_CONFIG, TOKENIZER_CONFIG):
        (package / name).unlink()
        del fields["files"][name]
    (package / MANIFEST).write_text(json.dumps(fields))
    now, before = (EdgeSession(p, threads=1) for p in (tiny_llama.package, package))
    texts = ["the cat sat", "a dog"]
    found = [[a.tokens for a in s.generate(texts, max_tokens=COUNT)] for s in (now, before)]
    assert found[0] == found[1]


def lengths_unsaid(model: onnx.ModelProto) -> None:
    (logits,) = (output for output in model.graph.output if output.name == "logits")
    logits.type.tensor_type.shape.dim[1].dim_param = "logits_length"


def test_a_base_that_writes_nothing_has_no_such_files(tiny_base: Path) -> None:
    assert (tiny_base / MODEL).is_file()
    assert not (tiny_base / GENAI_CONFIG).exists() and not (tiny_base / TOKENIZER_CONFIG).exists()


def test_answers_are_of_usual_length_unless_an_app_says_otherwise() -> None:
    """genai makes room at once: SmolLM2's whole context of 8,192 tokens takes 360 MiB."""
    small, large = (Generation(context, 99, 1, 1, 8, True, (2,)) for context in (64, 8192))
    lengths = [
        genai_config(facts, 8, None, None)["search"]["max_length"] for facts in (small, large)
    ]
    assert lengths == [64, 2048]


def test_padding_is_a_token_that_the_model_has() -> None:
    """A tokenizer may have more tokens than its model, and genai looks each of them up."""
    facts = Generation(64, 99, 1, 1, 8, True, (2,))
    found = [genai_config(facts, 8, pad, None)["model"]["pad_token_id"] for pad in (98, 99, None)]
    assert found == [98, 2, 2]
