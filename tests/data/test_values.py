"""Values as tensors: what keeps its type, what is widened, what is refused."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch

from lrsearch.data.values import as_tensor, checked_tensor, not_finite
from lrsearch.errors import UserError


@pytest.mark.parametrize("kind", ["i1", "u1", "i4", "i8", "f2", "f4", "f8", "c8", "c16", "?"])
def test_arrays_keep_type_and_values(kind: str) -> None:
    array = numpy.array([[0, 1], [1, 0]], dtype=kind)
    found = as_tensor(array)
    assert numpy.array_equal(found.numpy(), array)
    assert found.numpy().dtype == array.dtype


@pytest.mark.parametrize("kind", ["u2", "u4", "u8"])
def test_wide_unsigned_integers_become_signed_ones(kind: str) -> None:
    array = numpy.array([0, 2**16 - 1], dtype=kind)
    for value in (array, torch.from_numpy(array)):
        found = checked_tensor(value)
        assert found.dtype == torch.int64
        assert found.tolist() == [0, 2**16 - 1]


@pytest.mark.parametrize("change", ["swapped", "reversed", "read-only", "transposed"])
def test_arrays_of_any_layout_are_taken(change: str) -> None:
    array = numpy.arange(6.0).reshape(2, 3)
    changed = {
        "swapped": array.astype(">f8"),
        "reversed": array[::-1],
        "read-only": numpy.broadcast_to(array, (2, 3)),
        "transposed": array.T,
    }[change]
    assert numpy.array_equal(as_tensor(changed).numpy(), changed)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a word", "are text"),
        (torch.eye(2).to_sparse(), "are sparse"),
        (numpy.array([2**63], dtype="u8"), "from 2\\*\\*63 on"),
        (numpy.array(["2024-01-01"], dtype="datetime64[D]"), "of the type datetime64"),
        (numpy.array([1], dtype=numpy.longdouble), "astype"),
        ([[1], [2, 3]], "are no tensor, array or number"),
        ({"a": 1}, "are no tensor, array or number"),
        (None, "are no tensor, array or number"),
    ],
)
def test_what_holds_no_numbers_is_refused_in_words(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_tensor(value)


def test_samples_with_nan_or_infinity_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(10, 3)
    assert not_finite(x) is None
    x[3, 0], x[3, 2], x[7, 1] = float("nan"), float("inf"), float("-inf")
    assert not_finite(x) == (2, 3)
    monkeypatch.setattr("lrsearch.data.values._CHUNK", 6)  # two rows at a time
    assert not_finite(x) == (2, 3)
    assert not_finite(x[:, 0]) == (1, 3)
    assert not_finite(x.long()) is None
