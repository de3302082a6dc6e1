"""Durations as a user writes them, and where they become steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
