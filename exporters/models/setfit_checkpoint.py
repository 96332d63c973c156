"""A SetFit model read as a fine-tuned classifier: an embedding model with a linear layer behind."""

import copy
from pathlib import Path

import torch

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.kinds.multi_label import MultiLabel
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.embedding_settings import embedding_settings
from osd_edge.exporters.models.families import HeadModule, HeadShape
from osd_edge.exporters.models.setfit_head import read_setfit_head

_LAYER = "model_head"


class SetFitCheckpoint(Checkpoint):
    """The checkpoint of an embedding model, with the tensors, kind and labels of its classifier."""

    def __init__(self, model: str | Path) -> None:
        """Open a folder or hub id; raises ModelError, `model.head` for a head of another kind."""
        super().__init__(model)
        given = self.home
        head = read_setfit_head(given)
        pooling, normalize = embedding_settings(given)
        if normalize or head.normalized:
            raise ModelError(
                Code.MODEL_HEAD,
                f"{given} is a SetFit model whose classifier takes vectors of length 1, "
                "which a bundle's head does not make: train it without normalisation, or export "
                "its vectors without the classifier, --kind embedding",
            )
        self._shape = HeadShape(pooling, (HeadModule(_LAYER),))
        self._layer = {f"{_LAYER}.weight": head.weight, f"{_LAYER}.bias": head.bias}
        self.config = copy.deepcopy(self.config)
        self.config.architectures = ["SetFitForSequenceClassification"]
        several = head.kind == MultiLabel.name
        kind = "multi_label_classification" if several else "single_label_classification"
        self.config.problem_type = kind
        self.config.id2label = dict(enumerate(head.labels))
        self.config.label2id = {label: i for i, label in enumerate(head.labels)}

    @property
    def own_head(self) -> HeadShape | None:
        """The classifier, in the place of the family's."""
        return self._shape

    def names(self) -> list[str]:
        """Full names of all tensors, the classifier's too."""
        return sorted([*super().names(), *self._layer])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of tensor `name`, without reading it."""
        return tuple(self._layer[name].shape) if name in self._layer else super().shape(name)

    def stored(self, name: str) -> torch.Tensor:
        """Tensor `name` in its own dtype."""
        return self._layer[name] if name in self._layer else super().stored(name)

    def __contains__(self, name: str) -> bool:
        return name in self._layer or super().__contains__(name)
