"""The torch model of a task, whose weights are set for as long as a caller needs them.

One model is kept in memory; base and fine-tuned weights are read into it layer by layer. Of a
large model not even that: the weights of its layers are read when they are used (`streamed`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.head_plan import HeadPlan, head_values, plan_head
from osd_edge.exporters.models.language_head import LanguageHead, language_head, logits_weight
from osd_edge.exporters.models.module_names import module_paths
from osd_edge.exporters.models.rounding import as_stored
from osd_edge.exporters.models.streamed import Read, StreamedLinear, Take
from osd_edge.exporters.scoring.headed_model import (
    HeadedModel,
    Language,
    parameters_by_backbone_name,
)
from osd_edge.exporters.scoring.input_rounding import round_inputs
from osd_edge.exporters.scoring.weight_sets import (
    NAMED,
    Dense,
    LinearOnly,
    Midpoint,
    Tuned,
    WeightSet,
    WithDelta,
)
from osd_edge.formats.bundle.model import StoredHead


class TaskModel:
    """The fine-tuned model in float32, with the weights that a block asks for.

    `with model.at(TUNED) as module: logits = module(**tokens).logits`
    """

    def __init__(
        self,
        backbone: Backbone,
        tuned: Checkpoint,
        plan: HeadPlan | None = None,
        weights: str = "fp32",
        *,
        streamed: bool = False,
    ) -> None:
        """Build the fine-tuned model with the head of `plan` (its own unless given).

        A `streamed` model has no parameters for the weights of the backbone's layers. `weights`
        (see `rounding`) is how the device's package stores the base: base weights are set to what
        it will have, and with `int8` the layers round what they take.
        """
        self.weights = weights
        self._backbone = backbone
        self._tuned = tuned
        self.plan = plan or plan_head(backbone, tuned)
        self._module: Any = HeadedModel(backbone, tuned, self.plan)
        self._prefix = f"{self._module.base_model_prefix}."
        paths = module_paths(backbone.family, self._module.base_model)
        self._paths = {name: self._prefix + path for name, path in paths.items() if path}
        self._streamed: dict[str, StreamedLinear] = {}
        if streamed:
            self._stream_layers()
        self._parameters = dict(parameters_by_backbone_name(self._module, backbone.family))
        self._embeddings = {
            f"{name}.weight"
            for name, path in self._paths.items()
            if isinstance(self._module.get_submodule(path), torch.nn.Embedding)
        }
        self._linear = frozenset(f"{layer.name}.weight" for layer in backbone.layers)
        writes = self.plan.pooling == "logits"
        self._language = language_head(backbone) if writes else None
        self._held: WeightSet | None = None  # what the parameters are now, where it has a name
        self._asked: WeightSet | None = None  # what the innermost `at` asked for

    @contextmanager
    def at(self, weights: WeightSet) -> Iterator[Any]:
        """Gives the torch module with these weights, for as long as the block runs.

        Blocks may be nested: the outer one has its own weights again when the inner one ends.
        """
        outer = self._asked
        self._asked = weights
        try:
            self._hold(weights)
            yield self._module
        finally:
            self._asked = outer
            if outer is not None:
                self._hold(outer)

    @property
    def structure(self) -> Any:
        """The torch module, for what needs its layers and not its weights."""
        return self._module

    @property
    def prefix(self) -> str:
        """The prefix of a backbone's names in the module, without the dot."""
        return self._prefix.removesuffix(".")

    @property
    def streamed(self) -> bool:
        """Says whether weights of layers are read when they are used."""
        return bool(self._streamed)

    @property
    def head_parameters(self) -> frozenset[str]:
        """Names of what only the task has."""
        return frozenset(self._parameters) - frozenset(self._backbone.parameters)

    def path(self, name: str) -> str:
        """The path in the module of the backbone layer `name`."""
        return self._paths[name]

    def parameter(self, name: str) -> torch.nn.Parameter:
        """A parameter by its backbone name (or the head's full name)."""
        return self._parameters[name]

    def has(self, name: str) -> bool:
        """Says whether the model has this backbone parameter: its head may use no pooler."""
        return name in self._parameters or name in self._streamed

    @contextmanager
    def gradients_to(self, takers: Mapping[str, Take]) -> Iterator[None]:
        """Backward passes give the gradients of the weights of these layers to their takers.

        Each is freed at once, so that no more than one is in memory.
        """
        hooks = []
        for name, take in takers.items():
            weight = f"{name}.weight"
            if weight in self._streamed:
                self._streamed[weight].give_gradients_to(take)
                continue
            parameter = self.parameter(weight)
            parameter.requires_grad_(True)

            def given(parameter: torch.Tensor, take: Take = take) -> None:
                assert parameter.grad is not None
                take(parameter.grad)
                parameter.grad = None

            hooks.append(parameter.register_post_accumulate_grad_hook(given))  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for streamed in self._streamed.values():
                streamed.give_gradients_to(None)
            self._module.requires_grad_(False)

    def _hold(self, weights: WeightSet) -> None:
        """Set every parameter, unless the model holds this very set already."""
        if weights is self._held:
            return
        self._held = None  # not whole, if reading a tensor fails half-way
        self._round_inputs(self.weights == "int8" and isinstance(weights, WithDelta | Dense))
        match weights:
            case Tuned():
                self._set_tuned()
            case LinearOnly():
                self._set_linear_only()
            case Midpoint():
                self._set_tuned()
                for name in weights.layers:
                    weight = f"{name}.weight"
                    self._set_read(weight, lambda weight=weight: self._midway(weight))  # type: ignore[misc]
            case WithDelta():
                self._set_delta(weights)
            case Dense():
                self._set_dense(weights)
        if self._language is not None:
            self._module.language = self._language_of(self._language, weights)
        if weights in NAMED:  # others would be kept in memory for nothing
            self._held = weights

    def _language_of(self, head: LanguageHead, weights: WeightSet) -> Language:
        """The layer that gives logits, as the fine-tuned model or as the base's package has it.

        A bundle has no place for what fine-tuning changed in it.
        """
        tuned = isinstance(weights, Tuned | Midpoint)
        checkpoint = self._tuned if tuned else self._backbone.checkpoint
        own = logits_weight(self._tuned, self._backbone.family) if tuned else head.weight
        if own is None or own == head.table:
            weight = self.parameter(head.table).data
            if tuned and not (self.weights == "fp32" and self._tuned.is_base_own(head.table)):
                weight = weight.clone()  # logits are kept, and the table becomes the base's again
        elif tuned or self.weights == "fp32":
            weight = checkpoint.values(own)
        else:
            value = checkpoint.values(own).numpy()
            weight = torch.from_numpy(as_stored(value, self.weights, embedding=True))
        bias = None if head.bias is None else checkpoint.values(head.bias)
        cap = getattr(self._backbone.checkpoint.config, "final_logit_softcapping", None)
        return Language(weight, bias, float(cap or 0))

    def _set_tuned(self) -> None:
        for name in self._backbone.parameters:
            if self.has(name):
                self._set_from(name, self._tuned)
        self._set_tuned_head()

    def _midway(self, name: str) -> torch.Tensor:
        # Not in place: values may be the checkpoint's own, mapped from its file.
        return self._tuned.values(name).lerp(self._backbone.checkpoint.values(name), 0.5)

    def _set_linear_only(self) -> None:
        for name in self._backbone.parameters:
            if self.has(name) and name in self._linear:
                self._set_from(name, self._tuned)
            elif self.has(name):
                self._set_base(name)
        self._set_tuned_head()

    def _set_delta(self, weights: WithDelta) -> None:
        self._set_whole_base()
        for delta in weights.sites:
            name = f"{self._backbone.layers[delta.site].name}.weight"
            if self.has(name):
                u, v = (torch.from_numpy(factor) for factor in delta.decode())
                self._add(name, lambda u=u, v=v: u.T @ v)  # type: ignore[misc]
        self._set_tuned_head()
        if weights.head is not None:
            self._set_head(weights.head)

    def _set_dense(self, weights: Dense) -> None:
        assert set(weights.head) == self.head_parameters, "a head is set whole"
        self._set_whole_base()
        for site, delta in weights.deltas.items():
            self._add(f"{site}.weight", lambda delta=delta: delta)  # type: ignore[misc]
        for name, value in weights.head.items():
            self._set(name, value)

    def _set_whole_base(self) -> None:
        for name in self._backbone.parameters:
            if self.has(name):
                self._set_base(name)

    def _set_base(self, name: str) -> None:
        """Set a parameter of the backbone to what a package of these weights has."""
        if self.weights == "fp32" or not (name in self._linear or name in self._embeddings):
            self._set_from(name, self._backbone.checkpoint)
        else:
            self._set_read(name, lambda: self._as_stored(name))

    def _as_stored(self, name: str) -> torch.Tensor:
        """The base's weight `name` as a package of these weights has it."""
        value = self._backbone.checkpoint.values(name).numpy()
        return torch.from_numpy(as_stored(value, self.weights, embedding=name in self._embeddings))

    def _round_inputs(self, on: bool) -> None:
        if self.weights != "int8":
            return
        for layer in self._backbone.layers:
            if self.has(f"{layer.name}.weight"):
                round_inputs(self._module.get_submodule(self.path(layer.name)), on)

    def _set_tuned_head(self) -> None:
        for name, value in head_values(self._tuned, self.plan.modules).items():
            self._set(name, value)

    def _set_head(self, head: StoredHead) -> None:
        for module, layer in zip(self.plan.modules, head.layers, strict=True):
            decoded = layer.decode()
            self._set(f"{module.path}.weight", torch.from_numpy(decoded.dense()))
            if decoded.bias is not None:
                self._set(f"{module.path}.bias", torch.from_numpy(decoded.bias.copy()))

    def _stream_layers(self) -> None:
        for layer in self._backbone.layers:
            if layer.name not in self._paths:
                continue  # a pooler that the task does without
            path = self.path(layer.name)
            streamed = StreamedLinear(self._module.get_submodule(path))
            self._streamed[f"{layer.name}.weight"] = streamed
            self._module.set_submodule(path, streamed)

    def _set_from(self, name: str, checkpoint: Checkpoint) -> None:
        self._set_read(name, lambda: checkpoint.values(name))
        if name in self._streamed:
            self._streamed[name].from_file = True

    def _set_read(self, name: str, read: Read) -> None:
        """Set a parameter of the backbone to what `read` gives, now or when it is used."""
        if name in self._streamed:
            self._streamed[name].read, self._streamed[name].from_file = read, False
        else:
            self._set(name, read())

    def _add(self, name: str, delta: Read) -> None:
        if name in self._streamed:
            before = self._streamed[name].read
            self._set_read(name, lambda: before() + delta())
        else:
            with torch.no_grad():
                self.parameter(name).add_(delta())

    def _set(self, name: str, value: torch.Tensor) -> None:
        with torch.no_grad():
            self.parameter(name).copy_(value)
