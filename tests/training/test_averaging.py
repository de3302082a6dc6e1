"""The moving average of the weights: what it is, what is evaluated, and what it leaves alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_training import same_weights, small_task, timeless
from torch import nn

from lrsearch.registry import ComponentConfig
from lrsearch.training.averaging import averaged_copy
from lrsearch.training.loop import Training
from lrsearch.training.settings import Averaging, TrainSettings

Weights = dict[str, torch.Tensor]


def trained(**changes: Any) -> tuple[list[str], Weights, Weights]:
    """The evaluations, the weights that count, and the model's own at the end."""
    training = Training(small_task(**changes))
    evaluations = timeless(list(training.evaluations()))
    return evaluations, training.weights, training.task.model.state_dict()


def values(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


@pytest.mark.parametrize("case", [{}, {"settings": {"amp": "fp16"}}, {"grad_clip": 0.1}])
def test_a_decay_of_zero_is_no_average(case: dict[str, Any]) -> None:
    given = case.pop("settings", {})
    plain = trained(**case, settings=TrainSettings(**given))
    averaged = trained(**case, settings=TrainSettings(**given, ema=Averaging(0.0)))
    assert averaged[0] == plain[0]
    assert same_weights(averaged[1], plain[1])


@pytest.mark.parametrize("optimizer", ["sgd", ComponentConfig("adamw", {"weight_decay": 0.1})])
def test_the_average_leaves_the_training_alone(optimizer: Any) -> None:
    plain = trained(optimizer=optimizer)
    averaged = trained(optimizer=optimizer, settings=TrainSettings(ema=Averaging(0.9)))
    assert same_weights(averaged[2], plain[2])
    assert not same_weights(averaged[1], plain[1])
    assert averaged[0] != plain[0]


def test_what_is_evaluated_is_what_is_kept() -> None:
    training = Training(small_task(settings=TrainSettings(ema=Averaging(0.9))))
    last = list(training.evaluations())[-1]
    other = small_task()
    other.model.load_state_dict(training.weights)
    other.model.eval()
    validation = other.parts.validation
    loss = nn.functional.cross_entropy(other.model(validation.x), validation.y)
    assert float(loss) == pytest.approx(last.values["val_loss"], rel=1e-6)


@given(
    decay=st.floats(0.0, 0.999),
    warmup=st.booleans(),
    steps=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=8),
)
def test_the_average_of_weights_and_statistics_is_the_recursion(
    decay: float, warmup: bool, steps: list[float]
) -> None:
    """As torch's documentation has it; counts of batches are the latest ones."""
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    averaged = averaged_copy(model, Averaging(decay, warmup))
    expected = None
    for number, value in enumerate(steps):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.fill_(int(value))
        averaged.update_parameters(model)
        kept = min(decay, (1 + number) / (10 + number)) if warmup else decay
        now = float(int(value))
        expected = now if expected is None else kept * expected + (1 - kept) * now
    found = averaged.module.state_dict()
    counted = found.pop("1.num_batches_tracked")
    assert int(counted) == int(steps[-1])
    for tensor in found.values():
        assert torch.allclose(tensor, torch.full_like(tensor, expected), atol=1e-4)


def test_the_copy_is_evaluated_and_the_model_trains_on() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    before = values(model)
    averaged = averaged_copy(model, Averaging(0.5))
    assert (model.training, averaged.module.training) == (True, False)
    averaged.update_parameters(copy.deepcopy(model))
    assert all(map(torch.equal, before, values(model)))
