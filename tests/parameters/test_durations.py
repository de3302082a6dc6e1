"""Durations as a user writes them, and where they become steps."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.errors import UserError
from lrsearch.parameters.durations import Duration, Length

WHOLE = Length(steps=1000, steps_per_epoch=100, steps_per_evaluation=50)


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        (0.3, 300),
        ("0.3", 300),
        (1, 1000),
        ("10ep", 1000),
        ("0.5ep", 50),
        ("500st", 500),
        (" 7 st ", 7),
        (1e-9, 1),
        ("0.001ep", 1),
    ],
)
def test_a_duration_in_steps_is_never_below_one(written: object, steps: int) -> None:
    assert WHOLE.in_steps(Duration.parse(written)) == steps


@pytest.mark.parametrize("written", [30, "30", 1.5])
def test_a_bare_number_above_one_is_an_error_that_suggests_epochs(written: object) -> None:
    with pytest.raises(ValueError, match=f"did you mean {float(str(written)):g}ep"):
        Duration.parse(written)


@pytest.mark.parametrize("written", ["", "ten", "10 epochs", "-3ep", True, None, [1], "nan"])
def test_what_is_no_duration_says_how_to_write_one(written: object) -> None:
    with pytest.raises(ValueError, match="such as 10ep"):
        Duration.parse(written)


@pytest.mark.parametrize("written", ["0.3", "10ep", "500st"])
def test_a_duration_prints_as_it_is_written(written: str) -> None:
    assert str(Duration.parse(written)) == written


def test_a_length_counts_whole_batches() -> None:
    length = Length.of(n_train=105, batch_size=10, epochs=3)
    assert length == Length(steps=30, steps_per_epoch=10, steps_per_evaluation=10)
    assert length.evaluations == 3


def test_a_batch_larger_than_the_data_is_one_step_an_epoch() -> None:
    assert Length.of(n_train=5, batch_size=10, epochs=2).steps == 2


def test_steps_win_over_epochs_and_the_last_step_is_evaluated() -> None:
    length = Length.of(
        n_train=100, batch_size=10, epochs=3, steps=25, eval_every=Duration.parse("10st")
    )
    assert (length.steps, length.steps_per_evaluation, length.evaluations) == (25, 10, 3)


@given(
    amount=st.floats(0, 1),
    steps=st.integers(1, 10_000),
)
def test_a_warm_up_leaves_at_least_one_step(amount: float, steps: int) -> None:
    length = Length(steps, steps, steps)
    warmup = length.warmup_steps(Duration(amount, "fraction"))
    assert 0 <= warmup < steps or (warmup == 0 and steps == 1)
    assert (warmup == 0) == (amount == 0 or steps == 1)


def test_patience_counts_evaluations() -> None:
    assert WHOLE.in_evaluations(Duration.parse("3ep")) == 6
    assert WHOLE.in_evaluations(Duration.parse("1st")) == 1


@pytest.mark.parametrize(
    ("arguments", "per_epoch"),
    [
        ({}, 10),
        ({"drop_last": False}, 11),
        ({"drop_last": False, "accumulate": 4}, 3),
        ({"drop_last": False, "processes": 2}, 6),
        ({"drop_last": False, "processes": 2, "accumulate": 4}, 2),
        ({"accumulate": 20}, 1),
    ],
)
def test_the_length_of_an_epoch_is_counted_as_the_loop_takes_its_steps(
    arguments: dict[str, Any], per_epoch: int
) -> None:
    length = Length.of(n_train=105, batch_size=10, epochs=3, **arguments)
    assert (length.steps_per_epoch, length.steps) == (per_epoch, 3 * per_epoch)


def test_the_number_of_steps_alone_is_a_length() -> None:
    length = Length.of(steps=200)
    assert (length.steps, length.evaluations) == (200, 1)
    assert length.in_steps(Duration.parse(0.25)) == 50
    assert length.in_steps(Duration.parse("30st")) == 30


def test_what_needs_an_epoch_is_refused_where_its_length_is_not_known() -> None:
    length = Length.of(steps=200)
    with pytest.raises(UserError, match="the duration 2ep depends on the length of an epoch"):
        length.in_steps(Duration.parse("2ep"))
    with pytest.raises(UserError, match="number of evaluations"):
        length.in_evaluations(Duration.parse(0.1))
    known = Length.of(steps=200, epochs=4)
    assert (known.in_steps(Duration.parse("2ep")), known.evaluations) == (100, 4)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"epochs": 3},
        {"n_train": 100, "epochs": 3},
        {"n_train": 100, "batch_size": 10},
        {"steps": 0},
        {"steps": 10, "accumulate": 0},
    ],
)
def test_a_length_that_is_not_determined_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"Length\.of"):
        Length.of(**arguments)
