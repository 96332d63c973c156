"""The torch model of a task as a device computes it: backbone, pooling, linear layers.

One class for every kind of task, in the place of transformers' class for each. Parameters have
the names that they have in the checkpoint, so that weights and statistics find them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModel

from osd_edge.exporters.kinds.deferred_logits import DeferredLogits
from osd_edge.exporters.models.backbone import Backbone, pooling_option
from osd_edge.exporters.models.checkpoint import Checkpoint, base_prefix
from osd_edge.exporters.models.families import Family
from osd_edge.exporters.models.head_plan import HeadPlan, head_values
from osd_edge.exporters.models.linear import with_plain_linear_layers
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.exporters.models.weightless import weights_not_drawn
from osd_edge.exporters.scoring.batches import mask_of
from osd_edge.formats.heads import NORM_EPSILON


@dataclass(frozen=True)
class HeadedOutput:
    """`logits` `[rows, labels]`, or `[rows, tokens, labels]` where every token has its own.

    Those of a model that writes are deferred. `hidden_states` are those after each layer, the
    embeddings' first; None unless asked for.
    """

    logits: Any
    hidden_states: tuple[torch.Tensor, ...] | None = None


@dataclass(frozen=True)
class Language:
    """The layer that turns hidden states into logits of tokens, with the weights it has now."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    cap: float

    def logits(self, states: torch.Tensor) -> DeferredLogits:
        """The logits of states `[tokens, hidden]`."""
        return DeferredLogits(states, self.weight, self.bias, self.cap)


class HeadedModel(torch.nn.Module):
    """A backbone with the head that `plan` describes; float32, on no gradient until asked."""

    def __init__(self, backbone: Backbone, tuned: Checkpoint, plan: HeadPlan) -> None:
        """Build the modules of `tuned`; only the head's weights are read, the rest is undefined."""
        super().__init__()
        self._plan = plan
        options = pooling_option(backbone.family, plan.pooling == "pooler")
        with weights_not_drawn():
            model = AutoModel.from_config(tuned.config, dtype=torch.float32, **options)
        model = with_plain_linear_layers(model)
        self.config = model.config
        self.base_model_prefix = base_prefix(tuned.config)
        self.add_module(self.base_model_prefix, model)
        values = head_values(tuned, plan.modules)
        for module in plan.modules:
            weight, bias = values[f"{module.path}.weight"], values.get(f"{module.path}.bias")
            n, d = weight.shape
            layer = torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
                torch.nn.Linear, d, n, bias=bias is not None
            )
            _put(self, module.path, layer)
            layer.weight.data = weight.clone()
            if bias is not None:
                layer.bias.data = bias.clone()
        self.language: Language | None = None  # set with weights, of a model that writes
        self.requires_grad_(False)
        self.eval()

    @property
    def base_model(self) -> Any:
        """The backbone."""
        return self.get_submodule(self.base_model_prefix)

    def get_input_embeddings(self) -> Any:
        """The backbone's embedding of tokens (or patches)."""
        return self.base_model.get_input_embeddings()

    def forward(
        self,
        *,
        output_hidden_states: bool = False,
        counted: torch.Tensor | None = None,
        **inputs: torch.Tensor,
    ) -> Any:
        """A HeadedOutput for the backbone's inputs.

        `counted` `[rows, tokens]` says at which tokens a model that writes is asked for the next.
        """
        output = self.base_model(**inputs, output_hidden_states=output_hidden_states)
        if self.language is not None and counted is not None:
            logits = self.language.logits(output.last_hidden_state[counted])
            return HeadedOutput(logits, output.hidden_states)
        x = self._pooled(output, mask_of(inputs, output.last_hidden_state))
        for module in self._plan.modules:
            x = _activate(module.activation, self.get_submodule(module.path)(x))
        if self._plan.normalize:
            x = functional.normalize(x, dim=-1)
        return HeadedOutput(x, output.hidden_states)

    def _pooled(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = output.last_hidden_state
        pooling = self._plan.pooling
        if pooling == "none":
            return states
        if pooling == "pooler":
            pooled: torch.Tensor = output.pooler_output
            return pooled
        if pooling == "cls":
            return states[:, 0]
        if pooling == "last":
            last = (torch.arange(mask.shape[1]) * mask.bool()).argmax(1)
            return states[torch.arange(len(states)), last]
        weights = mask.bool().float()[..., None]
        return (states * weights).sum(1) / weights.sum(1).clamp_min(1)


def parameters_by_backbone_name(
    model: HeadedModel, family: Family
) -> Mapping[str, torch.nn.Parameter]:
    """Its parameters by backbone name, as checkpoints have it, the head's by their full name."""
    prefix = f"{model.base_model_prefix}."
    return {
        checkpoint_name(family, name.removeprefix(prefix)): p
        for name, p in model.named_parameters()
    }


def _put(root: torch.nn.Module, path: str, layer: torch.nn.Module) -> None:
    *scopes, name = path.split(".")
    for scope in scopes:
        if not hasattr(root, scope):
            root.add_module(scope, torch.nn.Module())
        root = root.get_submodule(scope)
    root.add_module(name, layer)


def _activate(name: str | None, x: torch.Tensor) -> torch.Tensor:
    if name == "tanh":
        return x.tanh()
    if name == "relu":
        return x.relu()
    if name in ("gelu", "gelu-norm"):
        x = functional.gelu(x)
    if name == "gelu-norm":
        return functional.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON)
    return x
