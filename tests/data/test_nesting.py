"""Nested batches keep their form, and are moved, divided and stored whole."""

from __future__ import annotations

import collections
from collections import UserDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from lrsearch.data.nesting import (
    NestedPart,
    flattened,
    map_tensors,
    pieces,
    samples_in,
    tensors_of,
    unflattened,
)

Pair = collections.namedtuple("Pair", "x y")


@dataclass
class Sample:
    ids: torch.Tensor
    name: str


def nested() -> st.SearchStrategy[Any]:
    """Tensors with five rows, in dicts and tuples."""
    leaf = st.integers(1, 3).map(lambda width: torch.arange(5.0 * width).reshape(5, width))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=3),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
        ),
        max_leaves=6,
    )


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and all(map(same, one, other))


@given(nested())
def test_what_is_flattened_comes_back(samples: Any) -> None:
    assert same(unflattened(flattened(samples)), samples)


@given(nested(), st.integers(1, 5))
def test_pieces_are_even_and_add_up(samples: Any, count: int) -> None:
    parts = [*pieces(samples, 5, count)]
    sizes = [size for _, size in parts]
    assert sizes == [samples_in(part) for part, _ in parts]
    assert sum(sizes) == 5
    assert max(sizes) - min(sizes) <= 1
    columns = zip(*(tensors_of(part) for part, _ in parts), strict=True)
    assert same([torch.cat(column) for column in columns], tensors_of(samples))


@pytest.mark.parametrize(
    "batch",
    [
        Pair(torch.ones(2), torch.zeros(2)),
        UserDict(a=torch.ones(2), b="text"),
        [torch.ones(2), {"a": (torch.zeros(2), None)}],
        Sample(torch.ones(2), "one"),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_a_batch_keeps_its_form(batch: Any) -> None:
    doubled = map_tensors(lambda tensor: tensor * 2, batch)
    assert type(doubled) is type(batch)
    for tensor, before in zip(tensors_of(doubled), tensors_of(batch), strict=True):
        assert torch.equal(tensor, before * 2)
    assert float(tensors_of(batch)[0].sum()) == 2.0  # the batch itself is unchanged


def test_an_object_that_moves_itself_is_one_value() -> None:
    packed = pack_sequence([torch.ones(3), torch.ones(2)])
    moved = map_tensors(lambda tensor: tensor, {"x": packed}, lambda value: value.to("cpu"))
    assert isinstance(moved["x"], PackedSequence)


def test_texts_are_divided_with_the_tensors_beside_them() -> None:
    batch = {"text": ["a", "b", "c"], "y": torch.arange(3), "scale": torch.tensor(2.0)}
    (first, _), (second, size) = pieces(batch, 3, 2)
    assert (first["text"], second["text"], size) == (["a", "b"], ["c"], 1)
    assert first["scale"] == second["scale"] == 2.0


def test_a_part_gives_its_samples() -> None:
    part = NestedPart({"x": torch.arange(4), "y": (torch.arange(4) * 2,)})
    assert len(part) == 4
    chosen = part[torch.tensor([3, 0])]
    assert chosen["x"].tolist() == [3, 0]
    assert chosen["y"][0].tolist() == [6, 0]
