"""A small base that writes text: random weights, a tokenizer of bytes, a form of conversations."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from osd_edge import read_manifest
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.models.linear import linear_shape
from osd_edge.formats.package.chat import ROLES, ChatFormat
from tests.support.packages import listed_anew

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CONTEXT = 256
CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAT = ChatFormat(
    begin="",
    roles={role: (f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ROLES},
    answer="<|im_start|>assistant\n",
)
_CORPUS = ("the cat sat on the mat", "a dog ran under the bird", "système über 猫 が 好き 🙂 🙃")


@dataclass(frozen=True)
class Writer:
    """A base that writes: its model, its package, and bundles of two tasks of it."""

    model: Path
    package: Path
    bundles: tuple[Path, Path]

    def torch(self, task: int | None = None) -> Any:
        """The torch model of the base, or of the task of that number."""
        folder = self.model if task is None else self.model.with_name(f"task{task}")
        return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer, with the template of conversations, as transformers has it."""
        return PreTrainedTokenizerFast.from_pretrained(self.model)


def make_writer(folder: Path, family: str = "llama", **changes: Any) -> Writer:
    """Makes a base that writes, and two tasks of it, in `folder`."""
    torch.manual_seed(3)
    tokenizer = byte_tokenizer()
    settings = {
        "vocab_size": len(tokenizer) + 5,  # as models have rows of which no tokenizer knows
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2 if family == "llama" else 4,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    }
    config = AutoConfig.for_model(family, **(settings | changes))
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.25)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    package = folder / "package"
    export_base(folder / "model", package, task="generate")
    _with_chat(package)
    bundles = []
    for number in (0, 1):
        tuned = _make_task(folder / "model", folder / f"task{number}", seed=7 + number)
        tokenizer.save_pretrained(tuned)
        bundle = folder / f"task{number}.osd.safetensors"
        export_task(folder / "model", tuned, bundle, method="truncsvd", budget="r=64")
        bundles.append(bundle)
    return Writer(folder / "model", package, (bundles[0], bundles[1]))


def _make_task(base: Path, folder: Path, seed: int) -> Path:
    """Saves a model whose linear layers are the base's plus a random delta."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        for module in model.base_model.modules():
            if linear_shape(module) is not None:
                module.weight.add_(torch.randn_like(module.weight) * 0.05)
    model.save_pretrained(folder)
    return folder


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are bytes and a few words, so that a character takes several."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIAL), initial_alphabet=alphabet
    )
    backend.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        model_max_length=CONTEXT,
        chat_template=CHATML,
    )


def _with_chat(package: Path) -> None:
    manifest = read_manifest(package)
    assert manifest.generation is not None
    manifest = replace(manifest, generation=replace(manifest.generation, chat=CHAT))
    (package / "manifest.json").write_text(manifest.to_json())


def change_facts(package: Path, **changes: Any) -> None:
    """Changes what the manifest says of the base that writes."""
    path = package / "manifest.json"
    fields = json.loads(path.read_text())
    fields["generation"] |= changes
    path.write_text(json.dumps(fields))
    listed_anew(package)
