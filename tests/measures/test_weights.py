"""Smoothing and weights of losses, against torch's functions; both are of the training alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils.data import TensorDataset

from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.measures import LOSSES, METRICS
from lrsearch.measures.build import build
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig

N, C = 12, 3


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measure(name: str, **arguments: Any) -> Any:
    return build(ComponentConfig(name, arguments), {**LOSSES, **METRICS}, "train.loss")


weights = st.lists(st.floats(0.1, 10), min_size=C, max_size=C)


@pytest.mark.parametrize("shape", [(), (2,), (2, 5)])
@settings(deadline=None, max_examples=20)
@given(given=weights, smoothing=st.floats(0, 1))
def test_classes_are_weighted_and_smoothed(
    shape: tuple[int, ...], given: list[float], smoothing: float
) -> None:
    """By hand: each target's weighted negative log-likelihood, over the sum of the weights."""
    outputs, w = drawn(N, C, *shape), torch.tensor(given)
    targets = drawn(N, *shape, seed=1).abs().mul(9).long() % C
    found = measure("cross_entropy", class_weights=given, label_smoothing=smoothing)
    logs = outputs.log_softmax(1).movedim(1, -1)
    one_hot = functional.one_hot(targets, C)
    hard = -(logs * one_hot * w).sum()
    soft = -(logs * w).sum() / C
    expected = ((1 - smoothing) * hard + smoothing * soft) / w[targets].sum()
    torch.testing.assert_close(found(outputs, targets), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (2, 5)])
@settings(deadline=None, max_examples=20)
@given(given=weights)
def test_the_ones_of_each_label_are_weighted(shape: tuple[int, ...], given: list[float]) -> None:
    outputs, targets = drawn(N, C, *shape), (drawn(N, C, *shape, seed=1) > 0).float()
    w = torch.tensor(given).view(C, *[1] * len(shape))
    expected = -(w * targets * outputs.sigmoid().log() + (1 - targets) * (-outputs).sigmoid().log())
    found = measure("bce_with_logits", pos_weight=given)(outputs, targets)
    torch.testing.assert_close(found, expected.mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_have_the_type_of_the_outputs(dtype: torch.dtype) -> None:
    outputs, targets = drawn(N, C).to(dtype), torch.arange(N) % C
    assert measure("cross_entropy", class_weights=[1, 2, 3])(outputs, targets).dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        found = measure("cross_entropy", class_weights=[1, 2, 3])(outputs.bfloat16(), targets)
    assert torch.isfinite(found)


def test_metrics_of_several_labels() -> None:
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]])
    outputs = torch.tensor([[2.0, 1, -1], [-1, -1, -1], [-3, 4, -1]])
    assert measure("label_accuracy")(outputs, labels).item() == pytest.approx(7 / 9)
    # One of two labels found, and one that is none; nothing to find; all found.
    assert measure("sample_f1")(outputs, labels).item() == pytest.approx((0.5 + 0 + 1) / 3)


def test_accuracy_leaves_out_targets_that_do_not_count() -> None:
    outputs, targets = drawn(N, C, 2, 2), torch.arange(4 * N).view(N, 2, 2) % C
    targets[:, 0] = -100
    right = (outputs.argmax(1) == targets)[:, 1].float().mean()
    assert measure("accuracy")(outputs, targets).item() == pytest.approx(right.item())


PARTS: dict[str, Callable[[int], tuple[torch.Tensor, torch.Tensor]]] = {
    "classes": lambda n: (drawn(n, 4), torch.tensor([0, 0, 0, 1, 1, 2] * (n // 6))),
    "one_hot": lambda n: (
        drawn(n, 4),
        functional.one_hot(torch.tensor([0, 0, 0, 1, 1, 2] * (n // 6)), 3),
    ),
    "labels": lambda n: (
        drawn(n, 4),
        torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]] * (n // 4)),
    ),
    "pixels": lambda n: (
        drawn(n, 3, 2, 3),
        torch.tensor([[0, 0, 0], [1, 1, 2]]).expand(n, 2, 3).clone(),
    ),
}


def load(kind: str, stream: bool = False) -> Any:
    """The user's function."""
    parts = PARTS[kind](24), PARTS[kind](12)
    return tuple(TensorDataset(*part) for part in parts) if stream else parts


def network(n_outputs: int) -> torch.nn.Module:
    """The user's model."""
    return torch.nn.Linear(4, n_outputs)


def objective(tmp_path: Path, kind: str, *overrides: str) -> TrainingObjective:
    settings = load_settings(
        [
            "+sweep=digits", "~data.name", f"data._target_={__name__}.load", f"+data.kind={kind}",
            "~model.hidden", f"model._target_={__name__}.network", f"data.cache={tmp_path}",
            *overrides,
        ]
    )  # fmt: skip
    return TrainingObjective(settings, prepare(settings.data), torch.device("cpu"))


BALANCED = {
    "classes": [6 / 9, 1.0, 2.0],
    "one_hot": [6 / 9, 1.0, 2.0],
    "pixels": [6 / 9, 1.0, 2.0],
    "labels": [1.0, 1 / 3, 0.0],
}


@pytest.mark.parametrize("kind", PARTS)
def test_balanced_weights_come_from_the_training_part(tmp_path: Path, kind: str) -> None:
    """The formulas of scikit-learn (classes) and of torch's documentation (labels)."""
    name, key = ("bce_with_logits", "pos_weight") if kind == "labels" else ("cross_entropy", "")
    key = key or "class_weights"
    made = objective(tmp_path, kind, f"train.loss.name={name}", f"train.loss.{key}=balanced")
    targets = PARTS[kind](12)[1]
    outputs = drawn(12, 3, *targets.shape[1:] if kind == "pixels" else ())
    given = measure(name, **{key: BALANCED[kind]})
    torch.testing.assert_close(made.loss(outputs, targets), given(outputs, targets))


def test_the_validation_loss_is_the_plain_one(tmp_path: Path) -> None:
    made = objective(
        tmp_path, "classes", "train.loss.name=cross_entropy", "train.loss.label_smoothing=0.2",
        "train.loss.class_weights=[1,2,3]",
    )  # fmt: skip
    outputs, targets = drawn(12, C), PARTS["classes"](12)[1]
    task = made.task(Recipe(0.1, 4, ComponentConfig("sgd"), ComponentConfig("constant")), 0, bool)
    assert task.evaluated_loss is not None
    assert torch.equal(
        task.evaluated_loss(outputs, targets), functional.cross_entropy(outputs, targets)
    )
    assert not torch.equal(task.loss(outputs, targets), task.evaluated_loss(outputs, targets))


def test_streamed_data_are_not_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"streamed: give a list of weights"):
        objective(
            tmp_path, "classes", "train.loss.name=cross_entropy",
            "train.loss.class_weights=balanced", "data.in_memory=never", "+data.stream=true",
        )  # fmt: skip


@pytest.mark.parametrize("given", ["half", "[]", "[1,-1]", "[1,x]", "3"])
def test_other_weights_are_refused(given: str) -> None:
    with pytest.raises(ConfigErrors, match=r"train\.loss\.class_weights: .* is not `balanced` or"):
        load_settings(
            ["+sweep=digits", "train.loss.name=cross_entropy", f"train.loss.class_weights={given}"]
        )


@pytest.mark.parametrize("shape", [(), (2, 5)])
@settings(deadline=None, max_examples=20)
@given(
    given=st.none() | st.lists(st.sampled_from([0.0, 0.5, 20.0]), min_size=C, max_size=C),
    cut=st.integers(1, N - 1),
    ignored=st.integers(0, C - 1),
)
def test_parts_of_a_batch_add_up_to_its_loss(
    shape: tuple[int, ...], given: list[float] | None, cut: int, ignored: int
) -> None:
    """Also where nothing counts in one of them."""
    loss = measure("cross_entropy", class_weights=given, label_smoothing=0.1, ignore_index=ignored)
    outputs = drawn(N, C, *shape).requires_grad_()
    targets = drawn(N, *shape, seed=1).abs().mul(9).long() % C
    targets[:cut] = torch.where(torch.arange(cut).reshape(-1, *[1] * len(shape)) < 3, ignored, 1)
    expected = loss(outputs, targets)
    if not expected.isfinite():  # nothing counts at all
        return
    (gradient,) = torch.autograd.grad(expected, outputs)
    total = torch.zeros(())
    for part in (slice(0, cut), slice(cut, N)):
        total = total + loss.part(outputs[part], targets[part], targets)
    (found,) = torch.autograd.grad(total, outputs)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(found, gradient)
