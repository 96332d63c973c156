"""The base with a task's latents in it, as a torch model whose latents can be trained."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from osd_edge.exporters.methods.stored.latents import Latent, Latents, quantize
from osd_edge.exporters.models.streamed import StreamedLinear, weight_of
from osd_edge.exporters.scoring.input_rounding import rounded, rounds_inputs


class _StraightThrough(torch.autograd.Function):
    """The quantiser forward, the identity backward (Bengio et al., arXiv 1308.3432)."""

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return quantize(x)

    @staticmethod
    def backward(_: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


class LatentLinear(torch.nn.Module):
    """A linear layer with weight `frozen` + what its latent stands for; bias as given.

    Products with weight and factors are taken in the type of `frozen`, which may be a streamed
    layer: its weight is then read when it is used. Column scales are kept as the logarithm of their
    magnitude, so that a step of training changes them by a share. Latents that are not `quantized`
    are used as real numbers.
    """

    def __init__(
        self,
        latent: Latent,
        frozen: torch.Tensor | StreamedLinear | None,
        bias: torch.Tensor | None,
        *,
        quantized: bool = True,
        rounds: bool = False,
    ) -> None:
        """Take copies of the latent's tensors as parameters, not trained until asked for.

        Where the base's layer `rounds` what it takes, the product with `frozen` does too.
        """
        super().__init__()
        self.rounds = rounds
        self.frozen = frozen
        self.quantized = quantized
        self.rows = torch.nn.ParameterList(
            [torch.nn.Parameter(x.clone(), requires_grad=False) for x in latent.rows]
        )
        self.log_scale = torch.nn.Parameter(
            latent.scale.abs().clamp_min(1e-30).log(), requires_grad=False
        )
        self.sign = torch.where(latent.scale < 0, -1.0, 1.0)
        self.bias = None if bias is None else torch.nn.Parameter(bias.clone(), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[…, d]` → `[…, n]`."""
        rows = [self._values(x) for x in self.rows]
        scale = self.sign * self.log_scale.exp()
        if len(rows) == 1:
            y = functional.linear(x, rows[0] * scale[:, None])
        else:
            dtype = x.dtype if self.frozen is None else self.frozen.dtype
            low = x.to(dtype)
            inner = functional.linear(low, rows[1].to(dtype)) * scale.to(dtype)
            y = functional.linear(inner, rows[0].T.to(dtype))
            if self.frozen is not None:
                y = y + self._product(self.frozen, rounded(low) if self.rounds else low)
            y = y.to(x.dtype)
        return y if self.bias is None else y + self.bias

    def latent(self) -> Latent:
        """The latent as it is now."""
        u, *v = (x.detach().clone() for x in self.rows)
        scale = (self.sign * self.log_scale.exp()).detach()
        return Latent(u, v[0] if v else None, scale)

    @staticmethod
    def _product(frozen: torch.Tensor | StreamedLinear, x: torch.Tensor) -> torch.Tensor:
        if isinstance(frozen, StreamedLinear):
            return frozen.product(x)
        return functional.linear(x, frozen)

    def _values(self, x: torch.nn.Parameter) -> torch.Tensor:
        if not self.quantized:
            return x
        return _StraightThrough.apply(x) if x.requires_grad else quantize(x)  # type: ignore[no-untyped-call]


class Student:
    """A copy of a task's model at the base's weights, with latents in the place of deltas.

    `sites` and `head` are its trainable layers, by layer name and in order.
    """

    def __init__(
        self,
        module: Any,
        latents: Latents,
        paths: Mapping[str, str],
        head_paths: tuple[str, ...],
        *,
        quantized: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Copy `module`, which holds base weights; `paths` gives a site's module path in it.

        `dtype` is the type in which layers with latents multiply by their frozen weights. Those of
        a streamed model are read when they are used, but kept where they are changed on the way.
        """
        self.quantized = quantized
        self.module: Any = copy.deepcopy(module).eval().requires_grad_(False)
        self.sites: dict[str, LatentLinear] = {}
        for name, latent in latents.sites.items():
            linear = self.module.get_submodule(paths[name])
            layer = LatentLinear(
                latent,
                _frozen(linear, dtype),
                linear.bias,
                quantized=quantized,
                rounds=rounds_inputs(linear),
            )
            self.sites[name] = self._put(paths[name], layer)
        self.head = [
            self._put(path, LatentLinear(latent, None, bias, quantized=quantized))
            for path, latent, bias in zip(head_paths, latents.head, latents.biases, strict=True)
        ]

    def latents(self) -> Latents:
        """The latents that the layers hold now."""
        biases = tuple(None if x.bias is None else x.bias.detach().clone() for x in self.head)
        return Latents(
            {name: layer.latent() for name, layer in self.sites.items()},
            tuple(layer.latent() for layer in self.head),
            biases,
        )

    def _put(self, path: str, layer: LatentLinear) -> LatentLinear:
        self.module.set_submodule(path, layer)
        return layer


def _frozen(linear: torch.nn.Module, dtype: torch.dtype) -> torch.Tensor | StreamedLinear:
    """The weight of a layer in `dtype`, or a streamed layer where reading it costs nothing more."""
    if isinstance(linear, StreamedLinear) and linear.from_file and dtype == torch.float32:
        return linear
    return weight_of(linear).to(dtype)
