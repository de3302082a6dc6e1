"""Kept weights: any state dict comes back to the last bit, and other programs can read the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from lrsearch.checkpoints.weights import load_weights, weights_from_bytes, weights_to_bytes
from lrsearch.errors import UserError


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """What is read of what was written."""
    return weights_from_bytes(weights_to_bytes(state))


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit, NaN included."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.contiguous().flatten().view(torch.uint8).tolist() == (
            other.contiguous().flatten().view(torch.uint8).tolist()
        )
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other or (one != one and other != other)


DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int64,
    torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128,
)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_tensors_of_every_type_and_shape_come_back(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    value = (torch.randn(shape) * 3).to(dtype)
    if dtype.is_floating_point and dtype.itemsize > 1 and value.numel() > 1:
        value.view(-1)[0], value.view(-1)[1] = math.nan, -math.inf
    assert_same(through_a_file({"w": value}), {"w": value})


def test_tensors_that_share_memory_or_are_not_contiguous_come_back() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    state = {
        "z": whole,
        "again": whole,
        "row": whole[1],
        "transposed": whole.T,
        "expanded": torch.ones(1).expand(5),
        "conjugate": torch.tensor([1 + 2j]).conj(),
    }
    found = through_a_file(state)
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor), name
    assert len({tensor.untyped_storage().data_ptr() for tensor in found.values()}) == len(state)


class Tied(nn.Module):
    """An output layer that shares the weights of the embedding, and a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5)
        self.head.weight = self.embedding.weight
        self.norm = nn.BatchNorm1d(3)
        self.extra: Any = None

    def get_extra_state(self) -> Any:
        """What a quantised layer, for example, keeps beside its tensors."""
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        """Take it back."""
        self.extra = state


def test_a_model_with_tied_weights_and_a_state_of_its_own_loads_them() -> None:
    torch.manual_seed(0)
    model, other = Tied().to(torch.bfloat16), Tied().to(torch.bfloat16)
    model.extra = {"scales": [torch.ones(2), None], 3: (1.5, "text", b"\0bytes", True)}
    other.load_state_dict(through_a_file(model.state_dict()))
    assert_same(dict(other.state_dict()), dict(model.state_dict()))
    assert other.head.weight is other.embedding.weight


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain))
def test_entries_that_are_no_tensors_come_back(state: dict[str, Any]) -> None:
    assert_same(through_a_file(state), state)


@pytest.mark.parametrize("entry", [object(), torch.eye(2).to_sparse(), [nn.ReLU()]])
def test_what_cannot_be_kept_is_named(entry: object) -> None:
    with pytest.raises(TypeError, match=r"layer\.thing"):
        weights_to_bytes({"layer.thing": entry})


def test_other_programs_read_the_file_and_theirs_are_read(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    state = {"b": torch.ones(2), "a": torch.zeros(3)}
    ours.write_bytes(weights_to_bytes(state))
    assert_same({name: load_file(ours)[name] for name in state}, state)
    save_file(state, theirs)
    assert load_weights(theirs).keys() == state.keys()
    assert list(load_weights(str(ours))) == ["b", "a"]
    assert list(load_weights(ours.as_uri())) == ["b", "a"]


@pytest.mark.parametrize("content", [b"", b"no weights", None], ids=["empty", "text", "missing"])
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "weights.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        load_weights(file)
