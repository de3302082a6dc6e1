"""The registry of data sets: what its functions return, how they are split and normalised."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.data.sources import (
    FALLBACKS,
    SOURCES,
    digits,
    linear,
    normalise,
    split,
)


@given(n=st.integers(2, 60), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_every_sample_is_in_exactly_one_part_with_its_target(
    n: int, share: float, seed: int
) -> None:
    n_validation = round(share * n)
    x, y = torch.arange(n)[:, None], torch.arange(n) + 1000
    train_x, train_y, validation_x, validation_y = split(x, y, n_validation, seed)
    assert len(validation_x) == n_validation
    together = torch.cat([train_x, validation_x])[:, 0]
    assert together.sort().values.tolist() == list(range(n))
    assert torch.equal(torch.cat([train_y, validation_y]), together + 1000)


def test_a_split_is_the_same_for_the_same_seed_whatever_was_drawn_before() -> None:
    x = torch.arange(100)
    first = split(x, x, 30, 5)
    torch.manual_seed(1)
    torch.rand(7)
    assert all(torch.equal(a, b) for a, b in zip(first, split(x, x, 30, 5), strict=True))


def test_another_seed_gives_another_split() -> None:
    x = torch.arange(100)
    assert set(split(x, x, 30, 0)[2].tolist()) != set(split(x, x, 30, 1)[2].tolist())


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_every_channel_of_the_train_part_gets_mean_0_and_deviation_1(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    train = torch.randint(0, 256, (50, 3, 6, 5), generator=generator)
    train[:, 1] //= 4
    train[:, 2] += 9
    train = train.clamp(max=255).to(kind)
    (found,) = normalise(train)
    assert found.dtype == torch.float32
    assert found.shape == train.shape
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(found.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_the_other_parts_are_moved_by_the_numbers_of_the_train_part() -> None:
    train = torch.tensor([0, 20], dtype=torch.uint8).view(2, 1, 1, 1)
    other = torch.tensor([10, 30], dtype=torch.uint8).view(2, 1, 1, 1)
    train, other = normalise(train, other)
    assert train.flatten().tolist() == [-1, 1]
    assert other.flatten().tolist() == [0, 2]


def test_a_constant_channel_becomes_zero() -> None:
    (found,) = normalise(torch.full((4, 1, 2, 2), 7, dtype=torch.uint8))
    assert torch.equal(found, torch.zeros(4, 1, 2, 2))


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3)])
def test_digits_come_in_any_size_and_number_of_channels(size: int, channels: int) -> None:
    x, y, test_x, test_y = digits(size, channels)
    assert x.shape == (1797 - 359, channels, size, size)
    assert test_x.shape == (359, channels, size, size)
    assert (len(y), len(test_y)) == (1797 - 359, 359)
    assert set(y.tolist()) == set(test_y.tolist()) == set(range(10))
    assert all(torch.equal(x[:, 0], x[:, i]) for i in range(channels))


def test_digits_keep_the_same_test_part_every_time() -> None:
    assert all(torch.equal(a, b) for a, b in zip(digits(), digits(), strict=True))


def test_linear_data_follow_their_weights() -> None:
    x, y, test_x, test_y = linear(n=40, features=3, noise=0.0)
    assert (x.shape, y.shape) == ((290, 3), (290, 1))
    assert (test_x.shape, test_y.shape) == ((250, 3), (250, 1))
    assert torch.allclose(y[:, 0], 2 * x[:, 1] + 4 * x[:, 2], atol=1e-5)


def test_linear_data_have_the_noise_asked_for() -> None:
    quiet, loud = (linear(n=2000, noise=noise)[1] for noise in (0.0, 0.5))
    assert float((loud - quiet).std()) == pytest.approx(0.5, rel=0.05)


def test_linear_data_are_others_for_another_seed() -> None:
    assert torch.equal(linear(n=10, seed=3)[0], linear(n=10, seed=3)[0])
    assert not torch.equal(linear(n=10, seed=3)[0], linear(n=10, seed=4)[0])


@pytest.mark.parametrize("name", list(SOURCES))
def test_only_what_does_not_concern_files_can_be_configured(name: str) -> None:
    arguments = set(inspect.signature(SOURCES[name].load()).parameters)
    assert set(SOURCES[name].parameters) == arguments - {"root", "download"}


def test_every_fallback_needs_no_files_and_takes_on_every_shape_that_has_some() -> None:
    for fallback in FALLBACKS:
        assert SOURCES[fallback].files is None
        assert {"size", "channels"} <= set(SOURCES[fallback].parameters)
    for source in SOURCES.values():
        assert (source.files is None) == (source.size is None) == (source.channels is None)
