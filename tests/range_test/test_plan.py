"""Which ramps are run: never more than one trial."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from synthetic import settings_for

from lrsearch.errors import UserError
from lrsearch.range_test.plan import STEPS, RampPlan, plan_ramps
from lrsearch.space.domains import PowersOfTwo


def plan(n_train: int, *overrides: str, optimizers: tuple[str, ...] = ("sgd", "adamw")) -> RampPlan:
    return plan_ramps(settings_for(*overrides), n_train, optimizers)


@profile(deadline=None, max_examples=60)
@given(
    st.integers(1, 200_000),
    st.integers(1, 50),
    st.sampled_from([(16, 128), (32, 32), (1, 4096), (8, 16)]),
    st.integers(1, 9),
)
def test_it_costs_at_most_one_trial_of_the_middle_batch_size(
    n_train: int, epochs: int, ends: tuple[int, int], optimizers: int
) -> None:
    base = settings_for()
    space = dataclasses.replace(
        base.space, shared={**base.space.shared, "batch_size": PowersOfTwo(*ends)}
    )
    train = dataclasses.replace(base.train, epochs=epochs)
    settings = dataclasses.replace(base, space=space, train=train)
    try:
        found = plan_ramps(settings, n_train, [f"optimizer {k}" for k in range(optimizers)])
    except UserError:
        return  # as a test below has it
    middle = found.batch_sizes[(len(found.batch_sizes) - 1) // 2]
    assert found.share <= 1.0
    assert found.ramps * found.steps <= found.trial_samples // middle
    assert 25 <= found.steps <= STEPS
    assert all(size <= n_train for size in found.batch_sizes)


def test_with_time_enough_there_are_three_batch_sizes_and_three_seeds() -> None:
    found = plan(50_000, "train.epochs=20", "space.batch_size={low: 32, high: 512}")
    assert (found.batch_sizes, found.seeds, found.steps) == ((32, 128, 512), 3, STEPS)
    assert found.ramps == 18


def test_with_little_time_only_the_middle_batch_size_is_left() -> None:
    found = plan(1078, "train.epochs=4", "space.batch_size={choices: [16, 32, 128]}")
    assert len(found.batch_sizes) == 1
    assert found.seeds == 1


def test_a_trial_too_short_is_refused_with_the_length_that_is_enough() -> None:
    with pytest.raises(UserError, match=r"train longer \(train.epochs=3\)") as refused:
        plan(640, "train.epochs=1", "space.batch_size=32")
    assert "give the learning rate a range" in str(refused.value)
    assert plan(640, "train.epochs=3", "space.batch_size=32").steps >= 25


def test_a_batch_is_never_larger_than_the_data() -> None:
    assert plan(64, "train.steps=500", "space.batch_size=100").batch_sizes == (64,)
