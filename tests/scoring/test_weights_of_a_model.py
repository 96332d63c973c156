"""Weights of a task's model are set for a block, and are what they were when it ends."""

from pathlib import Path

import pytest
import torch

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import BASE, LINEAR_ONLY, TUNED

NAME = "encoder.layer.0.attention.self.query.weight"
BIAS = "encoder.layer.0.attention.self.query.bias"


@pytest.fixture
def model(tiny_models: Path) -> TaskModel:
    models = open_fine_tuned(tiny_models / "base", tiny_models / "first")
    return TaskModel(models.backbone, models.tuned, models.head)


def test_an_inner_block_gives_the_outer_one_its_weights_back(model: TaskModel) -> None:
    with model.at(TUNED):
        weight, bias = (model.parameter(name).detach().clone() for name in (NAME, BIAS))
        with model.at(LINEAR_ONLY):
            assert torch.equal(model.parameter(NAME), weight)
            assert not torch.equal(model.parameter(BIAS), bias)
            with model.at(BASE):
                assert not torch.equal(model.parameter(NAME), weight)
            assert torch.equal(model.parameter(NAME), weight)
        assert torch.equal(model.parameter(BIAS), bias)


def test_weights_come_back_after_an_error(model: TaskModel) -> None:
    with model.at(TUNED):
        weight = model.parameter(NAME).detach().clone()
        with pytest.raises(RuntimeError), model.at(BASE):
            raise RuntimeError
        assert torch.equal(model.parameter(NAME), weight)


def test_weights_that_cannot_be_read_leave_the_model_usable(
    model: TaskModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise ModelError(Code.MODEL_WEIGHTS, "cannot read")

    with model.at(TUNED):
        weight = model.parameter(NAME).detach().clone()
    with monkeypatch.context() as patch:
        patch.setattr(TaskModel, "_set_base", unreadable)
        with pytest.raises(ModelError), model.at(BASE):
            pass
        with model.at(TUNED):
            assert torch.equal(model.parameter(NAME), weight)
