"""A backbone as a torch model without its weights, for what needs its modules alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from transformers import AutoModel

from osd_edge.exporters.models.backbone import Backbone, pooling_option
from osd_edge.exporters.models.linear import with_plain_linear_layers

try:
    from transformers.initialization import no_init_weights
except ModuleNotFoundError:  # transformers 4
    from transformers.modeling_utils import no_init_weights

_BUILDING = Lock()  # transformers keeps in one place for all threads whether weights are drawn


@contextmanager
def weights_not_drawn() -> Iterator[None]:
    """Models made within have memory for their weights, and no values in it yet."""
    with _BUILDING, no_init_weights():
        yield


def weightless_backbone(backbone: Backbone) -> Any:
    """The backbone in float32 whose every parameter is one zero, stretched to its shape.

    It can be run and traced, and takes a few megabytes whatever the size of the model.
    """
    with weights_not_drawn():  # memory that nobody writes to is not there yet
        model = AutoModel.from_config(
            backbone.checkpoint.config,
            attn_implementation="eager",
            dtype=torch.float32,
            **pooling_option(backbone.family, backbone.has_pooler),
        )
    _empty(model)
    model = with_plain_linear_layers(model)
    _empty(model)  # layers that became plain ones
    return model.eval()


def _empty(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data = torch.zeros(()).expand(parameter.shape)
