"""Turns a GGUF file of a Llama into a Hugging Face folder: configuration, weights, tokenizer."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from osd_edge.data.files import write_file
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, ModelError
from osd_edge.exporters.demo.writing.gguf_tokenizer import write_tokenizer

if TYPE_CHECKING:
    from gguf import GGUFReader

# Names of a layer's tensors there, and the modules that they are weights of here.
_OF_A_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OTHERS = {"token_embd": "embed_tokens", "output_norm": "norm"}


def write_model(gguf: Path, folder: Path, progress: Progress = silent) -> None:
    """Writes what transformers opens to `folder`: weights in float32, as the file's integers say.

    The matrix of logits is the tokens' embeddings. Raises ModelError `model.family` for a file of
    another architecture, ModuleNotFoundError without the gguf package.
    """
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    family = (facts["general.architecture"], facts["tokenizer.ggml.model"])
    if family != ("llama", "gpt2"):
        raise ModelError(
            Code.MODEL_FAMILY, f"{gguf}: expected a llama with a gpt2 tokenizer, found {family}"
        )
    weights = dict(_weights(reader, facts, progress))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_file(folder / "config.json", (json.dumps(_config(facts), indent=1) + "\n").encode())
    write_tokenizer(facts, folder)


def _weights(
    reader: "GGUFReader", facts: Mapping[str, Any], progress: Progress
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each tensor by its name here, as numbers."""
    from gguf import dequantize

    heads = {
        "attn_q": facts["llama.attention.head_count"],
        "attn_k": facts["llama.attention.head_count_kv"],
    }
    for tensor in progress(reader.tensors, "Weights of the model", len(reader.tensors)):
        values = dequantize(tensor.data, tensor.tensor_type)
        *layer, part = tensor.name.removesuffix(".weight").removeprefix("blk.").split(".")
        if part in heads:
            values = rows_in_order(values, heads[part])
        module = f"layers.{layer[0]}.{_OF_A_LAYER[part]}" if layer else _OTHERS[part]
        yield f"model.{module}.weight", np.ascontiguousarray(values, np.float32)


def rows_in_order(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """Gives the rows `[n, d]` of queries or keys in the order of Hugging Face's rotary positions.

    GGUF's Llama turns neighbours (rows 2 i and 2 i + 1 of a head) about one another, Hugging Face's
    the first half of a head about the second (rows i and i + size / 2).
    """
    n, d = weight.shape
    return weight.reshape(heads, n // heads // 2, 2, d).swapaxes(1, 2).reshape(n, d)


def _config(facts: Mapping[str, Any]) -> dict[str, Any]:
    heads = facts["llama.attention.head_count"]
    hidden = facts["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": facts["llama.feed_forward_length"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "head_dim": hidden // heads,
        "hidden_act": "silu",
        "max_position_embeddings": facts["llama.context_length"],
        "rms_norm_eps": facts["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": facts["llama.rope.freq_base"],
        "vocab_size": facts["llama.vocab_size"],
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
        "torch_dtype": "float32",
    }
