"""Training in bfloat16: what is computed stays near float32, and the model is as it was after."""

import torch

from osd_edge.exporters.methods.osd_rd.student import LatentLinear
from osd_edge.exporters.methods.stored.latents import Latent
from osd_edge.exporters.scoring.bfloat16 import lowered


def _model() -> torch.nn.Module:
    torch.manual_seed(0)
    wide = torch.nn.Linear(256, 192)
    model = torch.nn.Sequential(wide, torch.nn.GELU(), torch.nn.Linear(192, 4))
    return model.requires_grad_(False)


def test_a_lowered_model_answers_nearly_the_same_and_then_exactly() -> None:
    model, x = _model(), torch.randn(32, 256)
    before = model(x)
    with lowered(model, torch.bfloat16):
        low = model(x)
        assert low.dtype == torch.float32
        assert 0 < float((low - before).abs().max()) < 0.02 * float(before.abs().max())
    assert torch.equal(model(x), before)


def test_a_model_is_as_before_after_an_error_in_training() -> None:
    model = _model()
    layers = list(model.children())
    try:
        with lowered(model, torch.bfloat16):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert list(model.children()) == layers


def test_float32_changes_no_layer() -> None:
    model = _model()
    layers = list(model.children())
    with lowered(model, torch.float32):
        assert list(model.children()) == layers


def test_latents_have_gradients_near_those_of_float32() -> None:
    torch.manual_seed(0)
    weight = torch.randn(192, 256)
    latent = Latent(3 * torch.randn(4, 192), 3 * torch.randn(4, 256), torch.full((4,), 0.01))
    x, gradients = torch.randn(64, 256), []
    for dtype in (torch.float32, torch.bfloat16):
        layer = LatentLinear(latent, weight.to(dtype), None)
        for parameter in layer.parameters():
            parameter.requires_grad_(True)
        layer(x).square().mean().backward()
        gradients.append([p.grad for p in layer.parameters()])
    for exact, low in zip(*gradients, strict=True):
        assert exact is not None and low is not None and low.dtype == torch.float32
        assert float((low - exact).norm()) < 0.02 * float(exact.norm())
