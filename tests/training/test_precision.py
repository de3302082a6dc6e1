"""Inputs and targets reach the model in its precision; what is no such number stays as it is."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from lrsearch.data.parts import StreamedPart, TensorPart
from lrsearch.training.batches import evaluation_batches, training_batches
from lrsearch.training.precision import explained, in_precision, precision_of

CPU = torch.device("cpu")


def test_a_models_precision_is_that_of_its_first_numbers() -> None:
    assert precision_of(nn.Linear(2, 2)) == torch.float32
    assert precision_of(nn.Linear(2, 2, dtype=torch.float64)) == torch.float64
    assert precision_of(nn.Linear(2, 2, dtype=torch.complex128)) == torch.float64
    assert precision_of(nn.Flatten()) == torch.float32


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32, torch.float64])
def test_numbers_are_brought_to_it(precision: torch.dtype) -> None:
    for kind in (torch.float16, torch.float32, torch.float64):
        assert in_precision(torch.zeros(2, dtype=kind), precision).dtype == precision
    if precision != torch.bfloat16:
        found = in_precision(torch.full((2,), 1 + 2j), precision)
        assert found.dtype == precision.to_complex()
        assert found.tolist() == [1 + 2j, 1 + 2j]


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int32, torch.int64])
def test_integers_and_truth_values_stay(kind: torch.dtype) -> None:
    x = torch.ones(2, dtype=kind)
    assert in_precision(x, torch.float32) is x


class Arrays(Dataset[Any]):
    """Items as users have them: NumPy arrays and Python's own numbers."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x.numpy(), y.tolist()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[numpy.ndarray, int]:
        return self.x[index], self.y[index]


@pytest.mark.parametrize("kind", [torch.int64, torch.float64, torch.complex128, torch.bool])
def test_streamed_items_are_the_same_as_those_in_memory(kind: torch.dtype) -> None:
    x, y = (2**24 + torch.arange(24)).view(12, 2).to(kind), torch.arange(12) % 3
    parts = TensorPart(x, y), StreamedPart(Arrays(x, y))
    for batches in (
        [list(evaluation_batches(part, 5, CPU, torch.float64)) for part in parts],
        [list(training_batches(part, 4, 0, 0, CPU, precision=torch.float64)) for part in parts],
    ):
        for (x1, y1), (x2, y2) in zip(*batches, strict=True):
            assert x1.dtype == x2.dtype == kind
            assert torch.equal(x1, x2)
            assert torch.equal(y1, y2)


def test_a_model_that_cannot_take_the_type_is_explained() -> None:
    x = torch.ones(3, 2, dtype=torch.int64)
    with pytest.raises(RuntimeError) as caught, explained(x):
        nn.Linear(2, 1)(x)
    assert "int64" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError) as caught, explained(x.float()):
        nn.Linear(3, 1)(x.float())
    assert not hasattr(caught.value, "__notes__")
