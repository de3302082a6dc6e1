"""Outputs and targets whose shapes mean the same are put right; others are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrsearch.errors import UserError
from lrsearch.measures import LOSSES, METRICS
from lrsearch.measures.build import build
from lrsearch.registry import ComponentConfig

N, C = 6, 4


def measure(name: str) -> Any:
    return build(ComponentConfig(name), {**LOSSES, **METRICS}, "train.loss")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def with_ones(tensor: torch.Tensor, places: list[int]) -> torch.Tensor:
    """The same values with further axes of length one, none before the batch."""
    for place in places:
        tensor = tensor.unsqueeze(1 + place % tensor.dim())
    return tensor


ones = st.lists(st.integers(0, 3), max_size=2)


@pytest.mark.parametrize("name", ["mse", "l1", "smooth_l1", "bce_with_logits", "mae"])
@settings(deadline=None, max_examples=50)
@given(of_outputs=ones, of_targets=ones, width=st.integers(1, 3), n=st.integers(1, 5))
def test_axes_of_one_make_no_difference_between_numbers(
    name: str, of_outputs: list[int], of_targets: list[int], width: int, n: int
) -> None:
    outputs, targets = drawn(n, width), drawn(n, width, 1)[:, :, 0].sigmoid()
    expected = measure(name)(outputs, targets)
    found = measure(name)(with_ones(outputs, of_outputs), with_ones(targets, of_targets))
    assert torch.equal(found, expected)
    if width == 1:
        assert torch.equal(measure(name)(outputs[:, 0], targets), expected)


def test_a_model_that_squeezes_its_outputs_learns_from_its_gradients() -> None:
    outputs, targets = drawn(N, 1).requires_grad_(), drawn(N, 1, 1)[:, 0]
    measure("mse")(outputs.squeeze(-1), targets).backward()
    assert outputs.grad is not None
    assert torch.allclose(outputs.grad, 2 * (outputs - targets).detach() / N)


@pytest.mark.parametrize("name", ["mse", "l1", "smooth_l1", "mae"])
def test_whole_numbers_may_be_the_targets_of_a_regression(name: str) -> None:
    outputs, targets = drawn(N, 1), torch.arange(N)
    assert torch.equal(measure(name)(outputs, targets), measure(name)(outputs[:, 0], 1.0 * targets))


CLASSES = torch.tensor([0, 3, 1, 2, 0, 3])
FORMS = {
    "a column": CLASSES[:, None],
    "floats": CLASSES.float(),
    "a column of floats": CLASSES.float()[:, None],
    "bytes": CLASSES.to(torch.uint8),
    "small integers": CLASSES.to(torch.int16),
    "one-hot": nn.functional.one_hot(CLASSES, C),
}


@pytest.mark.parametrize("name", ["cross_entropy", "accuracy", "top5_accuracy"])
@pytest.mark.parametrize("form", FORMS)
def test_classes_in_any_form_are_those_classes(name: str, form: str) -> None:
    outputs = drawn(N, C)
    expected = measure(name)(outputs, CLASSES)
    assert torch.equal(measure(name)(outputs, FORMS[form]), expected)
    assert torch.equal(measure(name)(outputs[:, :, None], FORMS[form]), expected)


@pytest.mark.parametrize("name", ["cross_entropy", "accuracy"])
def test_classes_of_each_pixel_or_word(name: str) -> None:
    outputs, targets = drawn(N, C, 2, 3), torch.arange(N * 6).reshape(N, 2, 3) % C
    expected = measure(name)(outputs, targets)
    assert torch.equal(measure(name)(outputs, targets[:, None]), expected)
    one_hot = nn.functional.one_hot(targets, C).permute(0, 3, 1, 2)
    assert torch.equal(measure(name)(outputs, one_hot), expected)


def test_floats_shaped_as_the_outputs_are_probabilities() -> None:
    outputs, probabilities = drawn(N, C), drawn(N, C, 1)[:, :, 0].softmax(1)
    found = measure("cross_entropy")(outputs, probabilities)
    assert torch.equal(found, nn.functional.cross_entropy(outputs, probabilities))
    accuracy = (outputs.argmax(1) == probabilities.argmax(1)).float().mean()
    assert torch.equal(measure("accuracy")(outputs, probabilities), accuracy)


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "said"),
    [
        ("mse", (N, 2), (N, 1), r"outputs have the shape \(6, 2\) and the targets \(6, 1\)"),
        ("mse", (N, C), (N,), r"\(6, 4\) and the targets \(6,\)"),
        ("mae", (1, N), (N, 1), r"\(1, 6\) and the targets \(6, 1\)"),
        ("cross_entropy", (N, C), (N, 2), r"\(6, 4\) and the targets \(6, 2\)"),
        ("cross_entropy", (N,), (N,), r"\(6,\) and the targets \(6,\)"),
        ("accuracy", (N, C), (N - 1,), r"\(6, 4\) and the targets \(5,\)"),
        ("cross_entropy", (N, 1), (N, 1), r"\(6, 1\): the cross-entropy of a single output"),
    ],
)
def test_other_shapes_are_refused_and_both_are_named(
    name: str, outputs: tuple[int, ...], targets: tuple[int, ...], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        measure(name)(drawn(*outputs), torch.zeros(targets))
    assert str(caught.value).startswith("train.loss: ")


def test_what_only_looks_like_classes_is_refused() -> None:
    with pytest.raises(UserError, match="fractions"):
        measure("cross_entropy")(drawn(N, C), CLASSES + 0.5)
    with pytest.raises(UserError, match="not one-hot"):
        measure("accuracy")(drawn(N, C), torch.ones(N, C, dtype=torch.int64))
    with pytest.raises(UserError, match="one output for several classes"):
        measure("accuracy")(drawn(N, 1), CLASSES)


def test_a_class_is_made_an_instance_with_its_arguments() -> None:
    loss = build(
        ComponentConfig.own_code("torch.nn.CrossEntropyLoss", {"label_smoothing": 0.1}), {}, "l"
    )
    expected = nn.functional.cross_entropy(drawn(N, C), CLASSES, label_smoothing=0.1)
    assert torch.equal(loss(drawn(N, C), CLASSES), expected)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (ComponentConfig("mse", {"beta": 1.0}), "train.loss.beta: 'beta' is unknown"),
        (
            ComponentConfig.own_code("torch.nn.MSELoss", {"beta": 1.0}),
            "train.loss.beta: 'beta' is unknown",
        ),
        (ComponentConfig("smooth_l1", {"target": 1.0}), "train.loss.target: lrsearch itself gives"),
        (ComponentConfig.own_code("pathlib.Path"), "train.loss: .* cannot be called"),
    ],
)
def test_what_a_measure_does_not_take_is_refused(target: ComponentConfig, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(target, LOSSES, "train.loss")
