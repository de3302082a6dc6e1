"""What every trial would fail of is said in words by one batch, before anything is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import own_steps
import pytest
import torch
from small_training import small_task
from torch import nn

from lrsearch.data.nesting import NestedPart
from lrsearch.data.parts import Parts
from lrsearch.errors import OwnCodeError, UserError
from lrsearch.measures import LOSSES, METRICS
from lrsearch.measures.build import build
from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.registry import ComponentConfig
from lrsearch.training.dry_pass import dry_pass as dry_pass_of
from lrsearch.training.settings import TrainSettings
from lrsearch.training.task import Task

SHAPE = 36


class Model(nn.Module):
    """A linear model of three classes, with something wrong about what it returns."""

    def __init__(self, change: Callable[[torch.Tensor], Any] = lambda outputs: outputs) -> None:
        super().__init__()
        self.head = nn.Linear(SHAPE, 3)
        self.change = change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.head(x.flatten(1)))


def named(name: str, catalogue: dict[str, str], key: str = "train.loss") -> Any:
    return build(ComponentConfig(name), catalogue, key)


def task(model: nn.Module | None = None, **changes: Any) -> Task:
    known = {
        "loss": named("cross_entropy", LOSSES),
        "metrics": {"accuracy": named("accuracy", METRICS, "train.metrics.accuracy")},
    }
    return dataclasses.replace(small_task(), model=model or Model(), **(known | changes))


def dry_pass(made: Task) -> None:
    dry_pass_of(lambda: made, "Model")


def frozen() -> nn.Module:
    return Model().requires_grad_(False)


def numbers(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets).square().mean()


@pytest.mark.parametrize("amp", ["none", "bf16"])
def test_what_works_is_let_through(amp: Any) -> None:
    dry_pass(task(settings=TrainSettings(amp=amp)))


def test_outputs_that_are_no_tensor_are_a_matter_of_ones_own_loss() -> None:
    def loss(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs[0], targets)

    dry_pass(task(Model(lambda outputs: (outputs, 1)), loss=loss, metrics={}))


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (Model(lambda y: (y, y)), {}, "train.loss: the model returns a tuple of 2"),
        (Model(lambda y: {"logits": y}), {}, "train.loss: the model returns a dict"),
        (frozen(), {}, "model: all parameters of Model are frozen"),
        (nn.Flatten(), {}, "model: Model has no parameters"),
        (Model(lambda y: y.detach()), {}, "train.loss: it does not depend on the model"),
        (Model(lambda y: y[:, :1]), {}, r"train.loss: .* \(4, 1\)"),
        (
            None,
            {"loss": lambda y, t: (y - t[:, None]).abs()},
            r"must return one number .* \(4, 3\)",
        ),
        (None, {"loss": lambda y, t: 1.0}, "train.loss: it must return one number as a tensor"),
        (None, {"loss": named("mse", LOSSES)}, r"\(4, 3\) and the targets \(4,\)"),
        (
            None,
            {"metrics": {"f1": lambda y, t: None}},
            "train.metrics.f1: it must return one number",
        ),
        (
            Model(lambda y: y[:, :1]),
            {"loss": numbers, "metrics": {}},
            r"train.loss: on outputs of the shape \(4, 1\) and targets \(4,\) it compares each",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_in_words(
    model: nn.Module | None, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        dry_pass(task(model, **changes))


@pytest.mark.parametrize(
    "loss",
    [
        lambda y, t: numbers(y.squeeze(1), t),
        lambda y, t: numbers(y, t[:, None]),
        lambda y, t: numbers(y.flatten(), t.flatten()),
        lambda y, t: numbers(y.flatten(), t) * len(t),
    ],
)
def test_a_loss_that_sees_to_the_shapes_itself_is_let_through(loss: Any) -> None:
    dry_pass(task(Model(lambda y: y[:, :1]), loss=loss, metrics={}))


def test_what_the_model_raises_is_told_with_the_shape_of_its_inputs() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(7, 3))
    with pytest.raises(OwnCodeError, match=r"\(4, 1, 6, 6\) float32, failed:[\s\S]*mat1 and mat2"):
        dry_pass(task(model))


def test_what_was_raised_is_told_before_the_frames_that_led_there() -> None:
    class Embeds(Model):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(nn.Embedding(3, 1)(7 + x.long()))

    with pytest.raises(OwnCodeError) as caught:
        dry_pass(task(Embeds()))
    first, *frames = str(caught.value).splitlines()
    assert first.endswith("failed: IndexError: index out of range in self")
    assert frames[0].startswith("Traceback")
    assert any("in forward" in line for line in frames)


def test_what_building_the_model_raises_is_told() -> None:
    def build() -> Task:
        raise KeyError("width")

    with pytest.raises(
        OwnCodeError, match=r"^model: mine\.Net failed: KeyError: 'width'\nTraceback"
    ):
        dry_pass_of(build, "mine.Net")


def test_a_recipe_that_does_not_fit_the_model_is_told() -> None:
    rule = GroupRule("mine", None, "^heads")
    recipe = dataclasses.replace(small_task().recipe, groups=(rule,))
    with pytest.raises(UserError, match=r"mine .*matches nothing: Sequential has 1\.weight"):
        dry_pass(task(nn.Sequential(nn.Flatten(), nn.Linear(SHAPE, 3)), recipe=recipe))


def test_a_lack_of_memory_is_a_matter_of_the_batch_size() -> None:
    def raises(outputs: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    dry_pass(task(Model(raises)))


# Steps and evaluations of the user's own


def nested(**changes: Any) -> Task:
    """A training on batches that are dicts."""
    parts = [NestedPart(part) for part in own_steps.load("padded")[:2]]
    known: dict[str, Any] = {
        "parts": Parts(parts[0], parts[1], None),
        "loss_step": own_steps.step,
        "is_pairs": False,
        "crop": 0,
        "flip": False,
        "metrics": {},
    }
    return dataclasses.replace(small_task(), model=own_steps.Net(), **(known | changes))


def outputs_of(model: Any, batch: Any) -> Any:
    return model(**batch)


def one_class(model: Any, batches: Any) -> dict[str, float]:
    labels = torch.cat([batch["labels"] for batch in batches])
    if len(labels) < 10:
        raise ValueError("too few samples")
    return {"auc": 0.5}


def test_a_step_of_ones_own_takes_any_batch() -> None:
    dry_pass_of(lambda: nested(), "Net", {"val_loss": "metric.name"})
    dry_pass_of(lambda: nested(evaluate=own_steps.evaluate), "Net", {"f1": "metric.name"})
    dry_pass_of(lambda: task(loss_step=own_steps.mixup, crop=0, flip=False), "Model")


def test_an_evaluation_that_a_few_samples_do_not_suffice_for_gets_all() -> None:
    dry_pass_of(lambda: nested(evaluate=one_class), "Net", {"auc": "metric.name"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss_step": None}, r"a batch is a dict of ids, mask, labels, and .* train\.loss_step="),
        (
            {"loss_step": outputs_of},
            "train.loss_step: it must return one number as a tensor, not a",
        ),
        ({"evaluate": lambda model, batches: 0.5}, "train.evaluate: it must return {name: value}"),
        ({"evaluate": lambda model, batches: {"f1": "good"}}, "the value of f1 must be one number"),
        ({"evaluate": lambda model, batches: {"a b": 1.0}}, "'a b' cannot be the name of a value"),
        (
            {"evaluate": lambda model, batches: {"acc": 1.0}},
            "metric.name: an evaluation gives train_loss, acc, and not 'val_loss'",
        ),
    ],
)
def test_what_is_wrong_with_own_functions_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        dry_pass_of(lambda: nested(**changes), "Net", {"val_loss": "metric.name"})


def test_an_error_of_the_users_step_is_shown() -> None:
    with pytest.raises(OwnCodeError, match=r"train\.loss_step, with Net and a batch of a dict"):
        dry_pass_of(lambda: nested(loss_step=lambda model, batch: batch["no"]), "Net")
