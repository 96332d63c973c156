"""A base with PEFT adapters on it, read as if it were a fine-tuned checkpoint.

W = W_base + Σ wᵢ ΔWᵢ over the adapters i with their weights w. Nothing is merged on disk: a
tensor is made when it is asked for, so that comparing needs memory for one layer.
"""

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PretrainedConfig

from osd_edge.errors import Code, InputError, ModelError, shown
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.kinds.generate import Generate
from osd_edge.exporters.models.adapter_files import MERGE_TRAINED
from osd_edge.exporters.models.checkpoint import BUFFERS, Checkpoint, without_prefix
from osd_edge.exporters.models.cross_encoder import forget_activation
from osd_edge.exporters.models.families import Family, HeadShape, family_of
from osd_edge.exporters.models.head_plan import label_fault
from osd_edge.exporters.models.language_head import logits_weight
from osd_edge.exporters.models.low_rank import LowRank
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.exporters.models.peft_adapter import PeftAdapter, read_adapter
from osd_edge.exporters.models.sentence_folder import is_sentence_folder

# By PEFT's name of a task. Kinds of one name share a head; the first is the usual one.
_HEADS = {
    kind.peft_type: (kind.head, kind.model_class)
    for kind in reversed(KINDS.values())
    if kind.head is not None
}
_HEADLESS = {kind.peft_type: kind.model_class for kind in KINDS.values() if kind.head is None}


class AdaptedCheckpoint(Checkpoint):
    """The fine-tuned model that a base and adapters make, with the interface of a checkpoint.

    The head, its kind and the folder's name come from the first adapter that has a head, or from
    the first where none has. `labels` name its outputs, since adapters do not; without them they
    are LABEL_0, LABEL_1 and so on. `adapter_bytes` is the size of the adapters' weight files,
    `adapter_values` the number of values in them.
    """

    def __init__(
        self,
        base: Checkpoint,
        adapters: Sequence[tuple[str | Path, float]],
        labels: Sequence[str] | None = None,
    ) -> None:
        """Read the adapters. Raises ModelError, InputError `input.labels`, `input.number`."""
        self._base = base
        for folder, weight in adapters:
            if not math.isfinite(weight):
                raise InputError(Code.INPUT_NUMBER, f"the weight of adapter {folder} is {weight}")
        self._adapters = [(read_adapter(Path(folder)), weight) for folder, weight in adapters]
        self.adapter_bytes = sum(adapter.size for adapter, _ in self._adapters)
        self.adapter_values = sum(adapter.values for adapter, _ in self._adapters)
        family = self._family = family_of(base.config)
        self._origins = {name: name for name in base.backbone_names()}
        self._origins |= _lm_head(base, family)
        adapted = [adapter for adapter, _ in self._adapters]
        first = next((one for one in adapted if self._has_head(one, family)), adapted[0])
        self.folder = first.folder
        # Of an embedding, which says how one vector is made of a text. An adapter with a head was
        # trained by other software, to which the base's prompt and its length say nothing.
        own = is_sentence_folder(first.folder) or self._has_head(first, family)
        self.home = first.folder if own else base.home
        heads = _head_tensors(family)
        self._origins |= self._heads_in_base(adapted, heads)
        self._saved: dict[str, list[tuple[torch.Tensor, float]]] = {}
        self._low_rank: dict[str, list[tuple[PeftAdapter, str, float]]] = {}
        for adapter, weight in self._adapters:
            self._take(adapter, weight, heads, with_head=adapter is first)
        self.config = self._task_config(first, labels)

    @property
    def named_bases(self) -> tuple[str, ...]:
        """The bases that the adapters say they are for, a hub id or a folder each."""
        return tuple(one.base for one, _ in self._adapters if one.base is not None)

    def backbone_names(self) -> list[str]:
        """Names of the backbone's tensors, without the model class's prefix."""
        return self._base.backbone_names()

    def names(self) -> list[str]:
        """Names of all tensors, those of the backbone without prefix."""
        return sorted(set(self._origins) | set(self._saved))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of tensor `name`."""
        name = self._plain(name)
        if name in self._origins:
            return self._base.shape(self._origins[name])
        return tuple(self._whole(name).shape)

    def stored(self, name: str) -> torch.Tensor:
        """Tensor `name` as float32: what adapters make is stored nowhere."""
        return self.float32(name)

    def is_transposed(self, name: str) -> bool:
        """Says whether the base stores `name`, a linear layer's weight, as [d, n]."""
        return self._base.is_transposed(self._plain(name))

    def __contains__(self, name: str) -> bool:
        name = self._plain(name)
        return name in self._origins or name in self._saved

    def is_base_own(self, name: str) -> bool:
        """Says whether no adapter touches tensor `name` of the base."""
        name = self._plain(name)
        return name in self._origins and not (name in self._saved or name in self._low_rank)

    def is_whole(self, name: str) -> bool:
        """Says whether an adapter has a copy of tensor `name` in the place of the base's."""
        return self._plain(name) in self._saved

    def low_rank(self, name: str) -> LowRank | None:
        """The product of all the adapters' factors; None where one is more than a product."""
        name = self._plain(name)
        entries = self._low_rank.get(name, ())
        parts = [adapter.product(module) for adapter, module, _ in entries]
        products = [part for part in parts if part is not None]
        if name in self._saved or not products or len(products) < len(parts):
            return None
        weights = [weight for _, _, weight in entries]
        b = [weight * one.b for weight, one in zip(weights, products, strict=True)]
        return LowRank(torch.cat(b, 1), torch.cat([one.a for one in products]))

    def values(self, name: str) -> torch.Tensor:
        """Tensor `name` as float32."""
        name = self._plain(name)
        if name not in self._origins:
            return self._whole(name).float()
        own = self._base.float32(self._origins[name])
        if self.is_base_own(name):
            return own
        value = own.clone()
        for tensor, weight in self._saved.get(name, ()):
            whole = tensor.float()
            value += weight * ((whole.T if self._base.is_transposed(name) else whole) - own)
        for adapter, module, weight in self._low_rank.get(name, ()):
            if name.endswith(".bias"):
                parts = adapter.low_rank[module]
                scaling = adapter.scaling(module, parts["lora_A.weight"].shape[0])
                value += weight * scaling * parts["lora_B.bias"].float().reshape(-1)
            else:
                value += weight * adapter.delta(module, own)
        return value

    def _whole(self, name: str) -> torch.Tensor:
        if name not in self._saved:
            raise ModelError(Code.MODEL_TENSOR, f"{self.folder} has no tensor {name}")
        return self._saved[name][0][0]

    def _plain(self, name: str) -> str:
        return checkpoint_name(self._family, without_prefix(self._base.config, name))

    def _heads_in_base(
        self, adapters: Sequence[PeftAdapter], heads: frozenset[str]
    ) -> dict[str, str]:
        """The base's tensors that a head of the task begins with, unless an adapter has its own.

        ModernBERT's classifier, for one, takes a layer over from the model for masked words.
        """
        saved = {self._plain(name) for adapter in adapters for name in adapter.saved}
        return {
            name: name
            for name in heads
            if name in self._base and name not in self._origins and name not in saved
        }

    def _has_head(self, adapter: PeftAdapter, family: Family) -> bool:
        shape = family.heads.get(self._head_of(adapter)[0])
        saved = {self._plain(name) for name in adapter.saved}
        return shape is not None and f"{shape.layers[-1].path}.weight" in saved

    def _lacking(self, head: HeadShape) -> str | None:
        """The path of the last layer of a head whose weights are nowhere; None without one."""
        paths = [layer.path for layer in head.layers if f"{layer.path}.weight" not in self]
        return paths[-1] if paths else None

    def _head_of(self, adapter: PeftAdapter) -> tuple[str, str]:
        """The shape of the head that the adapter's task has, and the end of its class's name."""
        task = adapter.task_type
        if task is None:
            found = any(self._plain(name) == "qa_outputs.weight" for name in adapter.saved)
            task = "QUESTION_ANS" if found else "SEQ_CLS"
        return _HEADS.get(task, ("", ""))

    def _class_without_head(self, adapter: PeftAdapter) -> str | None:
        """The end of the name of the class that an adapter without a head is for; None else."""
        task = adapter.task_type
        if task is None and self._family.lm_head and not self._has_head(adapter, self._family):
            task = Generate.peft_type  # what adapters of decoders are for that say nothing
        return _HEADLESS.get(task or "")

    def _take(
        self, adapter: PeftAdapter, weight: float, heads: frozenset[str], *, with_head: bool
    ) -> None:
        for module, parts in adapter.low_rank.items():
            plain = self._plain(module)
            if f"{plain}.weight" not in self._origins:
                raise ModelError(
                    Code.MODEL_ADAPTER,
                    f"{adapter.folder} changes {plain}, which the base has not: an adapter of "
                    "another model, or of a head whose own weights it does not hold; if that, "
                    f"{MERGE_TRAINED}",
                )
            changed = ["weight"] + (["bias"] if "lora_B.bias" in parts else [])
            if f"{plain}.{changed[-1]}" not in self._origins:
                raise ModelError(
                    Code.MODEL_ADAPTER_METHOD,
                    f"{adapter.folder} has a lora_B.bias for {plain}, which has no bias in the "
                    "base",
                )
            shape = self._base.shape(self._origins[f"{plain}.weight"])
            transposed = self._base.is_transposed(f"{plain}.weight")
            adapter.check(module, shape[::-1] if transposed else shape)
            for end in changed:
                entry = (adapter, module, weight)
                self._low_rank.setdefault(f"{plain}.{end}", []).append(entry)
        for name, tensor in adapter.saved.items():
            plain = self._plain(name)
            if plain.endswith(BUFFERS) and plain not in self._origins:
                continue
            if plain not in self._origins and plain not in heads:
                raise ModelError(
                    Code.MODEL_ADAPTER_METHOD,
                    f"{adapter.folder} holds {shown(plain)}, which is neither in the base nor in a "
                    "head of its family",
                )
            if plain not in self._origins and not with_head:
                continue
            if plain in self._origins and tuple(tensor.shape) != self.shape(plain):
                of_words = "embed" in plain or plain == f"{self._family.lm_head}.weight"
                raise ModelError(
                    Code.MODEL_VOCABULARY if of_words else Code.MODEL_SHAPE,
                    f"{adapter.folder} has {plain} of shape {list(tensor.shape)}, the base "
                    f"{list(self.shape(plain))}",
                )
            self._saved.setdefault(plain, []).append((tensor, weight))

    def _task_config(self, first: PeftAdapter, labels: Sequence[str] | None) -> PretrainedConfig:
        """The base's configuration with the task's class and labels."""
        config = copy.deepcopy(self._base.config)
        headless = self._class_without_head(first)
        if headless is not None:
            if labels:
                raise InputError(
                    Code.INPUT_LABELS, f"{self.folder} is an adapter of a model without labels"
                )
            config.architectures = [headless]
            return config
        shape, name = self._head_of(first)
        if not name:
            raise ModelError(
                Code.MODEL_HEAD,
                f"{self.folder} is an adapter for {shown(str(first.task_type), 40)}: no head of a "
                "task",
            )
        config.architectures = [name]
        config.problem_type = None
        forget_activation(config)
        described = family_of(config).heads.get(shape)
        lacks = None if described is None else self._lacking(described)
        if described is None or lacks == described.layers[-1].path:
            raise ModelError(
                Code.MODEL_HEAD,
                f"{self.folder} came without a head: train it with the head's layers in "
                "modules_to_save; if it was (PEFT drops it where it converts PiSSA and the like), "
                f"{MERGE_TRAINED}",
            )
        if lacks is not None:
            raise ModelError(
                Code.MODEL_HEAD,
                f"{self.folder} has not all of its head: {lacks} is neither in it nor in the "
                f"base: {MERGE_TRAINED}",
            )
        last = f"{described.layers[-1].path}.weight"
        if len(self.shape(last)) != 2 or not self.shape(last)[0]:
            raise ModelError(
                Code.MODEL_SHAPE,
                f"{self.folder}: the head's {last} has shape {list(self.shape(last))}, expected "
                "[outputs, inputs]",
            )
        count = self.shape(last)[0]
        names = list(labels) if labels else [f"LABEL_{i}" for i in range(count)]
        if len(names) != count:
            raise InputError(
                Code.INPUT_LABELS, f"{len(names)} labels for a head with {count} outputs"
            )
        fault = label_fault(names)
        if fault:
            raise InputError(Code.INPUT_LABELS, f"--labels: {fault}")
        config.id2label = dict(enumerate(names))
        config.label2id = {label: i for i, label in enumerate(names)}
        return config


def _lm_head(base: Checkpoint, family: Family) -> dict[str, str]:
    """The base's tensor that each tensor of the layer that gives logits starts from."""
    weight = logits_weight(base, family)
    bias = f"{family.lm_head}.bias"
    own = {} if weight is None else {f"{family.lm_head}.weight": weight}
    return own | ({bias: bias} if bias in base else {})


def _head_tensors(family: Family) -> frozenset[str]:
    """Names that a head's tensors may have, of any task; a pooler may be part of one."""
    modules = [module for shape in family.heads.values() for module in shape.layers]
    modules += [family.pooler] if family.pooler else []
    paths = [path for one in modules for path in (one.path, one.norm) if path]
    return frozenset(f"{path}.{end}" for path in paths for end in ("weight", "bias"))
