"""What a study has cost."""

from __future__ import annotations

import dataclasses

import pytest
from synthetic import recipe, settings_for, study_of, trial

from lrsearch.analysis.spent import Cause, Spent, count_spent


def spent(
    *trials: object, total: int | None = None, overrides: tuple[str, ...] = ("train.epochs=5",)
) -> Spent:
    study = study_of(trials, *overrides, total=total)  # type: ignore[arg-type]
    return count_spent(study, settings_for(*overrides))


def test_pruning_saves_what_the_pruned_trials_left_out() -> None:
    found = spent(
        trial(0, recipe(), 1.0),
        trial(1, recipe(), 2.0, "pruned", epochs=2),
        trial(2, recipe(), None, "diverged", epochs=1),
    )
    assert found.trained_epochs == 8
    assert found.full_epochs == 15
    assert found.pruned_epochs == 3  # what a diverged trial left out nobody saved
    assert dict(found.outcomes) == {"complete": 1, "pruned": 1, "diverged": 1}


def test_a_length_in_steps_is_counted_in_epochs_of_the_batch_size() -> None:
    found = spent(trial(0, recipe(0.1, 107), 1.0), overrides=("train.steps=20",))
    assert found.full_epochs == 2  # 1,078 samples are ten batches of 107


@pytest.mark.parametrize(("epoch", "full"), [(2.0, 4.0), (0.5, 1.0)])
def test_an_own_loop_counted_in_steps_has_the_epochs_that_it_reports(
    epoch: float, full: float
) -> None:
    half = trial(0, recipe(), 1.0, "pruned", epochs=1)
    last = dataclasses.replace(half.curve[-1], epoch=epoch, step=500)
    half = dataclasses.replace(half, curve=(last,))
    overrides = ("train.steps=1000", "objective={_target_: own.train}")
    assert spent(half, overrides=overrides).full_epochs == full


def test_hours_are_counted_by_worker() -> None:
    found = spent(
        trial(0, recipe(), 1.0, owner="a/1/1.00", seconds=30.0),
        trial(1, recipe(), 1.0, owner="b/2/1.00", seconds=3600.0),
        trial(2, recipe(), 1.0, owner="a/1/1.00", seconds=30.0),
    )
    assert [(one.name, one.trials, one.seconds) for one in found.workers] == [
        ("b/2/1.00", 1, 3600.0), ("a/1/1.00", 2, 60.0),
    ]  # fmt: skip


def test_failures_are_told_by_their_last_line() -> None:
    reason = "Traceback ...\n  line\nValueError: no disk\n"
    found = spent(
        *(trial(k, None, None, "failed", reason=reason) for k in range(3)),
        trial(3, None, None, "crashed"),
    )
    assert found.causes == (Cause("ValueError: no disk", 3), Cause("no reason recorded", 1))


def test_trials_that_were_spared_tell_how_often_pruning_is_wrong() -> None:
    found = spent(
        trial(0, recipe(), 1.0),
        trial(1, recipe(), 0.9, spared_at=3),
        *(trial(k, recipe(), 0.95, spared_at=3) for k in range(2, 21)),
        trial(21, recipe(), 2.0, "pruned", epochs=2),
    )
    assert (found.spared, found.wrongly) == (20, 1)
    # So many wrong ones give 1 or less of 20 once in twenty times.
    assert found.most_wrong == pytest.approx(0.2161, abs=1e-4)


def test_one_check_alone_tells_nothing() -> None:
    found = spent(trial(0, recipe(), 1.0), trial(1, recipe(), 1.2, spared_at=2))
    assert found.most_wrong == pytest.approx(0.95)
