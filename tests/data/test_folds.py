"""The folds of cross-validation: equal in size, fair to classes, the same everywhere."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.data.folds import fold_numbers, fold_parts

FOLDS = st.integers(2, 9)
SEEDS = st.integers(0, 2**31)


@given(classes=st.lists(st.integers(0, 4), min_size=9, max_size=80), folds=FOLDS, seed=SEEDS)
def test_folds_are_of_one_size_and_spread_each_class_evenly(
    classes: list[int], folds: int, seed: int
) -> None:
    y = torch.tensor(classes)
    numbers = fold_numbers(y, folds, seed)
    size = len(y) // folds
    assert [int((numbers == fold).sum()) for fold in range(folds)] == [size] * folds
    assert int((numbers == -1).sum()) == len(y) - size * folds < folds
    for label in set(classes):
        counts = [int((numbers[y == label] == fold).sum()) for fold in range(folds)]
        assert max(counts) - min(counts) <= 1


@given(n=st.integers(9, 60), folds=FOLDS, seed=SEEDS)
def test_each_sample_is_validated_once_and_trained_on_otherwise(
    n: int, folds: int, seed: int
) -> None:
    x, y = torch.arange(n), torch.rand(n, 1)
    numbers = fold_numbers(y, folds, seed)
    validated: list[int] = []
    for fold in range(folds):
        train_x, train_y, validation_x, validation_y = fold_parts(x, y, numbers, fold)
        assert sorted([*train_x.tolist(), *validation_x.tolist()]) == list(range(n))
        assert torch.equal(y[train_x], train_y)
        assert torch.equal(y[validation_x], validation_y)
        validated += validation_x.tolist()
    assert len(validated) == len(set(validated)) == n // folds * folds


def test_the_seed_alone_decides() -> None:
    y = torch.arange(30) % 3
    assert torch.equal(fold_numbers(y, 5, 1), fold_numbers(y, 5, 1))
    assert not torch.equal(fold_numbers(y, 5, 1), fold_numbers(y, 5, 2))
