"""Early stopping ends a training, and changes nothing before its end."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_training import STEPS, same_weights, small_task, timeless

from lrsearch.evaluation import Evaluation
from lrsearch.registry import ComponentConfig
from lrsearch.training.early_stopping import evaluations_without_gain
from lrsearch.training.loop import Training
from lrsearch.training.settings import EarlyStopping, TrainSettings

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "mode", "min_delta", "waited"),
    [
        ([], "min", 0, 0),
        ([3.0, 2.0, 1.0], "min", 0, 0),
        ([1.0, 1.0, 1.0], "min", 0, 2),  # no worse is no better
        ([1.0, 2.0, 0.9, 2.0], "min", 0, 1),
        ([1.0, 0.95, 0.9, 0.85], "min", 0.1, 0),  # of many small gains, the sum counts
        ([1.0, 0.95, 0.9], "min", 0.1, 2),  # exactly min_delta is no improvement
        ([0.5, 0.6, 0.55], "max", 0, 1),
        ([NAN, NAN, 1.0, NAN], "min", 0, 1),
        ([NAN, NAN], "max", 0, 2),
        ([-1.0, -2.0, -1.5], "min", 0, 1),
    ],
)
def test_the_number_of_evaluations_without_a_gain(
    values: list[float], mode: str, min_delta: float, waited: int
) -> None:
    assert evaluations_without_gain(values, mode, min_delta) == waited


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_it_counts_from_the_first_best_value(values: list[float]) -> None:
    assert evaluations_without_gain(values, "min", 0) == len(values) - 1 - values.index(min(values))
    mirrored = [-value for value in values]
    assert evaluations_without_gain(mirrored, "max", 0) == evaluations_without_gain(
        values, "min", 0
    )


def trained(**changes: Any) -> tuple[list[Evaluation], Training]:
    training = Training(small_task(**changes))
    return list(training.evaluations()), training


def stopping(patience: int, min_delta: float = 0.0, **settings: Any) -> TrainSettings:
    return TrainSettings(early_stopping=EarlyStopping(patience, min_delta), **settings)


@pytest.mark.parametrize("scheduler", ["cosine", "plateau"])
def test_with_endless_patience_it_changes_nothing(scheduler: str) -> None:
    plain, of_plain = trained(scheduler=scheduler)
    patient, of_patient = trained(scheduler=scheduler, settings=stopping(1000))
    assert timeless(patient) == timeless(plain)
    assert same_weights(of_patient.weights, of_plain.weights)


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_it_ends_after_so_many_evaluations_with_the_same_numbers_until_then(patience: int) -> None:
    """Rates, too: the schedule keeps its full length."""
    plain, _ = trained()
    # No loss improves by so much: the first evaluation is the only gain.
    stopped, training = trained(settings=stopping(patience, 1e9))
    assert timeless(stopped[:-1]) == timeless(plain[:patience])
    last = stopped[-1]
    assert last.index == 1 + patience
    assert last.early_end is not None
    assert "val_loss has not improved by more than 1e+09" in last.early_end
    assert training.is_done
    assert (last.values, last.lr_end) == (plain[patience].values, plain[patience].lr_end)


def test_the_last_planned_evaluation_is_no_early_end() -> None:
    plain, _ = trained()
    stopped, _ = trained(settings=stopping(len(plain) - 1, 1e9))
    assert stopped[-1].step == STEPS
    assert stopped[-1].early_end is None


def test_it_watches_the_metric_of_the_study() -> None:
    task = small_task(settings=stopping(1))
    task.metric_name, task.metric_mode = "val_accuracy", "max"
    found = [one.values["val_accuracy"] for one in Training(task).evaluations()]
    assert all(second > first for first, second in itertools.pairwise(found[:-1]))


def test_the_weights_that_were_evaluated_are_kept() -> None:
    """An optimizer with modes stays in the mode of its last evaluation."""
    free = ComponentConfig.own_code("schedulefree.SGDScheduleFree")
    case: dict[str, Any] = {"optimizer": free, "scheduler": "constant", "augment": False}
    stopped, training = trained(**case, settings=stopping(2, 1e9))
    other = small_task(**case)
    other.model.load_state_dict(training.weights)
    other.model.eval()
    validation = other.parts.validation
    loss = other.loss(other.model(validation.x), validation.y).detach()
    assert float(loss) == pytest.approx(stopped[-1].values["val_loss"], rel=1e-6)
    assert not training.task.model.training
