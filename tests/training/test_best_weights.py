"""The weights of a training that keeps its best evaluation are those of that evaluation."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_training import images, same_weights, small_task
from torch import nn

from lrsearch.registry import ComponentConfig
from lrsearch.training.best_weights import BestWeights
from lrsearch.training.loop import Stopped, Training
from lrsearch.training.settings import Averaging, TrainSettings

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "averaged": {"settings": TrainSettings(ema=Averaging(0.5))},
    "optimizer with modes": {
        "scheduler": "constant",
        "optimizer": ComponentConfig.own_code("schedulefree.AdamWScheduleFree", {}),
    },
}


def keeping_best(mode: str, **case: Any) -> Training:
    task = small_task(augment=False, **case)
    return Training(dataclasses.replace(task, keeps_best=True, metric_mode=mode))


def val_loss(weights: dict[str, torch.Tensor], **case: Any) -> float:
    """The loss of a model with these weights on the validation part."""
    model, part = small_task(augment=False, **case).model, images(40, 1)
    model.load_state_dict(weights)
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model.eval()(part.x), part.y))


@given(st.lists(st.floats(), min_size=1), st.sampled_from(["min", "max"]))
def test_the_first_of_the_best_finite_values_counts(values: list[float], mode: str) -> None:
    best = BestWeights(mode)
    for index, value in enumerate(values):
        best.evaluated(value, {"index": torch.tensor(index)})
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        assert best.weights is None
        return
    wanted = min(finite) if mode == "min" else max(finite)
    assert best.weights is not None
    assert best.weights["index"] == values.index(wanted)


def test_they_are_a_copy() -> None:
    best, weights = BestWeights("min"), {"w": torch.ones(2), "extra": [1]}
    best.evaluated(1.0, weights)
    kept = copy.deepcopy(weights)
    weights["w"].zero_(), weights["extra"].append(2)
    assert best.weights == {"w": best.weights["w"], "extra": [1]}  # type: ignore[index]
    assert torch.equal(best.weights["w"], kept["w"])


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("case", CASES)
def test_a_training_ends_with_the_weights_of_its_best_evaluation(case: str, mode: str) -> None:
    training = keeping_best(mode, **CASES[case])
    losses = [one.values["val_loss"] for one in training.evaluations()]
    best = min(losses) if mode == "min" else max(losses)
    assert len(set(losses)) == len(losses)
    assert val_loss(training.weights, **CASES[case]) == pytest.approx(best, rel=1e-6)


def test_keeping_them_changes_no_number_of_the_training() -> None:
    kept = [one.values for one in keeping_best("max").evaluations()]
    assert kept == [one.values for one in Training(small_task(augment=False)).evaluations()]


def test_they_are_part_of_the_state() -> None:
    whole = keeping_best("max")
    list(whole.evaluations())
    begun = keeping_best("max")
    begun.task.should_stop = lambda: begun.step == 17
    with pytest.raises(Stopped):
        list(begun.evaluations())
    file = io.BytesIO()
    torch.save(begun.state_dict(), file)
    file.seek(0)
    resumed = keeping_best("max")
    resumed.load_state_dict(torch.load(file, weights_only=True))
    list(resumed.evaluations())
    assert same_weights(resumed.weights, whole.weights)
    assert not same_weights(whole.weights, dict(whole.evaluated.state_dict()))
