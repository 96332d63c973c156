"""Model families as data: a TOML file for each, named for the model type in `config.json`.

`docs/families.md` describes every key and adds a family as an example. Sites are not named in
these files: every linear layer of the backbone is one.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from transformers import PretrainedConfig

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.kinds import KINDS

FOLDERS: list[Traversable] = [files(__name__)]  # where the files are


@dataclass(frozen=True)
class HeadModule:
    """A linear layer of a task's head, by its module path in the checkpoint.

    `norm` is the path of a LayerNorm after the activation. An activation `@NAME` is the one that
    the model's configuration has under that name.
    """

    path: str
    activation: str | None = None
    norm: str | None = None


@dataclass(frozen=True)
class HeadShape:
    """The head of one of a family's task classes: what it reads, and its layers in order.

    `pooling` is `cls`, `mean`, `last`, `none` (every token), `pooler` (the backbone's own pooler
    where the base has one, else the task's), or `@NAME` from the configuration.
    """

    pooling: str
    layers: tuple[HeadModule, ...]


@dataclass(frozen=True)
class DecoderNames:
    """The modules of a decoder of Llama's shape, by what each is for, as the family calls them.

    A layer normalises what attention and the feed-forward layers read, and with the two output
    norms also what they give. Norms multiply by their weight plus `norm_offset`. `window` names
    the setting that has the window of all layers, where modules do not say it.
    """

    feed_forward_norm: str
    attention_norm: str = "input_layernorm"
    attention_output_norm: str | None = None
    feed_forward_output_norm: str | None = None
    norm_offset: float = 0.0
    window: str | None = None
    embedding: str = "embed_tokens"
    last_norm: str = "norm"
    attention: str = "self_attn"
    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    attention_output: str = "o_proj"
    query_norm: str = "q_norm"
    key_norm: str = "k_norm"
    feed_forward: str = "mlp"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"


@dataclass(frozen=True)
class Family:
    """The facts of a family that its module tree does not show.

    `heads` are by the task class: `sequence`, `tokens`, `spans`. `pooler` is the backbone's own
    pooler layer. `inputs` are the tensors that the backbone takes. `fusion` is the model type
    that onnxruntime's transformer optimizer knows it by. `transposed` are globs of layers that
    keep their weight as [d, n]. `settings` are those of the configuration that change what equal
    weights compute, `moved_settings` where transformers 5 keeps some of them: `name.of.the.place`
    in its configuration. `modules` maps modules as a newer model class calls them to their names in
    checkpoints, with `*` for a layer's number. With `positions_after_padding`, positions start
    after the padding's id. Without `mixed_rows`, the rows of a batch share something that goes
    through the layers, such as relative positions, and so must share a task. `prefixes` are those
    that the backbone's names may have in the family's task classes, unless torch's one is the
    only one. `lm_head` is the layer that gives the next token's logits, of a family that writes.
    `decoder` has the modules of one of Llama's shape, whose graph is written and not traced.
    """

    model_type: str
    inputs: tuple[str, ...]
    heads: Mapping[str, HeadShape]
    pooler: HeadModule | None = None
    fusion: str | None = None
    transposed: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    moved_settings: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    positions_after_padding: bool = False
    mixed_rows: bool = True
    prefixes: tuple[str, ...] = ()
    lm_head: str | None = None
    decoder: DecoderNames | None = None

    @property
    def reads_images(self) -> bool:
        """Says whether the backbone takes pictures and not text."""
        return "pixel_values" in self.inputs


def known_families() -> tuple[str, ...]:
    """Model types that can be exported, sorted."""
    names = (entry.name for folder in FOLDERS for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def family_of(config: PretrainedConfig) -> Family:
    """The family of a model; raises ModelError `model.family` where it is not known."""
    if config.model_type not in known_families():
        raise unknown_family(config.model_type)
    return load_family(config.model_type)


def unknown_family(model_type: str) -> ModelError:
    """The refusal (`model.family`) of a model of a type that no file describes."""
    return ModelError(
        Code.MODEL_FAMILY,
        f"models of type {shown(repr(model_type), 40)} are not known (known: "
        f"{', '.join(known_families())}); docs/families.md shows how to add one",
    )


@cache
def load_family(model_type: str) -> Family:
    """The family in the file `model_type`.toml, which must be one of `known_families`."""
    found = (folder / f"{model_type}.toml" for folder in FOLDERS)
    text = next(file for file in found if file.is_file()).read_text("utf-8")
    return parse_family(model_type, tomllib.loads(text))


def parse_family(model_type: str, data: Mapping[str, Any]) -> Family:
    """A family from the content of its file; raises ValueError or TypeError for a mistake in it."""
    fields = dict(data)
    heads = {
        name: HeadShape(
            head.get("pooling", "none"), tuple(HeadModule(**layer) for layer in head["layers"])
        )
        for name, head in fields.pop("heads").items()
    }
    known = {kind.head for kind in KINDS.values() if kind.head is not None}
    if not set(heads) <= known:
        raise ValueError(f"{model_type}.toml: heads are {', '.join(sorted(known))}")
    pooler, decoder = fields.pop("pooler", None), fields.pop("decoder", None)
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Family(
        model_type=model_type,
        heads=heads,
        pooler=None if pooler is None else HeadModule(**pooler),
        decoder=None if decoder is None else DecoderNames(**decoder),
        **(fields | lists),
    )
