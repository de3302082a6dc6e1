"""Optimizers with modes: switched as those who made them ask for."""

from __future__ import annotations

from typing import Any

import pytest
import schedulefree
import torch
from reports import Collected
from small_training import LENGTH, STEPS, images, small_task
from torch import nn

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.objectives.resumable import Resumable
from lrsearch.optimizers.modes import set_mode
from lrsearch.registry import ComponentConfig
from lrsearch.training.batches import training_batches
from lrsearch.training.loop import Training

CLASSES = {
    "AdamWScheduleFree": schedulefree.AdamWScheduleFree,
    "SGDScheduleFree": schedulefree.SGDScheduleFree,
}


def task_with(name: str) -> Any:
    optimizer = ComponentConfig.own_code(f"schedulefree.{name}", {"weight_decay": 0.1})
    return small_task("constant", optimizer, augment=False)


def by_hand(name: str) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The validation losses and final weights of the loop in schedulefree's README."""
    task = task_with(name)
    model, validation = task.model, images(40, 1)
    optimizer: Any = CLASSES[name](model.parameters(), lr=0.05, weight_decay=0.1)
    losses: list[float] = []
    step = 0
    while step < STEPS:
        epoch = step // LENGTH.steps_per_epoch
        for x, y in training_batches(task.parts.train, 16, task.seed, epoch, task.device, 0, False):
            model.train()
            optimizer.train()
            optimizer.zero_grad()
            loss: Any = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            step += 1
            if step % LENGTH.steps_per_evaluation == 0 or step == STEPS:
                model.eval()
                optimizer.eval()
                with torch.no_grad():
                    loss = nn.functional.cross_entropy(model(validation.x), validation.y)
                losses.append(float(loss * 40) / 40)
            if step == STEPS:
                break
    return losses, model.state_dict()


@pytest.mark.parametrize("name", CLASSES)
def test_validation_and_final_weights_are_those_of_evaluation(name: str) -> None:
    losses, weights = by_hand(name)
    report = Collected()
    kept = Resumable(lambda: Training(task_with(name)), NoCheckpoints(), {}).run(report)
    assert [one.values["val_loss"] for one in report] == losses
    assert kept.keys() == weights.keys()
    assert all(torch.equal(kept[key], weights[key]) for key in kept)


class Switched(torch.optim.SGD):
    """Notes how it is switched."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.modes: list[str] = []

    def train(self) -> None:
        self.modes.append("train")

    def eval(self) -> None:
        self.modes.append("eval")


def test_optimizers_with_both_methods_are_switched_and_others_left_alone() -> None:
    model = nn.Linear(1, 1)
    optimizer = Switched(model.parameters(), lr=0.1)
    set_mode(model, optimizer, train=False)
    assert (optimizer.modes, model.training) == (["eval"], False)
    set_mode(model, optimizer, train=True)
    assert (optimizer.modes, model.training) == (["eval", "train"], True)
    set_mode(model, torch.optim.SGD(model.parameters(), lr=0.1), train=False)
    assert not model.training
