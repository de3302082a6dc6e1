"""What the user's own function reports, and what ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrsearch.errors import UserError
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Objective
from lrsearch.objectives.builtin import build_objective
from lrsearch.objectives.function import OwnReport
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.training.loop import Diverged

RECIPE = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("constant"))


class Taken:
    """Takes reports; ends the trial when it has `enough`."""

    def __init__(self, enough: int = 100, earlier: int = 0) -> None:
        self.evaluations: list[Evaluation] = []
        self.enough, self.earlier = enough, earlier

    def __call__(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)
        if len(self.evaluations) >= self.enough:
            raise TimeoutError("pruned")

    def restore(self, history: Sequence[Evaluation]) -> None:
        raise AssertionError("for lrsearch's own training")

    def rewind(self, epoch: float) -> int:
        return self.earlier + 1


def test_a_step_that_is_not_given_comes_after_the_one_before() -> None:
    taken = Taken()
    report = OwnReport(taken, RECIPE)
    report(0.5, 0.9)
    report(1, 0.8, step=100)
    report(1.5, 0.7)
    report(2, 0.6, step=200)
    assert [one.step for one in taken.evaluations] == [1, 100, 101, 200]
    assert [one.epoch for one in taken.evaluations] == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("step", [2, 2.0, np.int32(2), np.float32(2), torch.tensor(2)])
def test_a_step_is_any_whole_number(step: Any) -> None:
    taken = Taken()
    OwnReport(taken, RECIPE)(1, 0.5, step=step)
    assert taken.evaluations[0].step == 2


@pytest.mark.parametrize("step", [2.5, np.float32(0.25), torch.tensor(1.5), -0.5])
def test_a_step_that_is_not_whole_is_refused(step: Any) -> None:
    taken = Taken()
    with pytest.raises(UserError, match=f"step must be a whole number, not {float(step)}"):
        OwnReport(taken, RECIPE)(1, 0.5, step=step)
    assert taken.evaluations == []


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ((1, 0.5), (1, 0.4), "epoch 1 comes after epoch 1"),
        ((2.5, 0.5), (1, 0.4), r"epoch 1 comes after epoch 2\.5"),
        ((1, 0.5, 7), (2, 0.4, 7), "step 7 comes after step 7"),
        ((1, 0.5, 7), (2, 0.4, 3), "step 3 comes after step 7"),
    ],
)
def test_epochs_and_steps_rise_within_an_attempt(
    first: tuple[float, ...], second: tuple[float, ...], problem: str
) -> None:
    taken = Taken()
    report = OwnReport(taken, RECIPE)

    def call(epoch: float, loss: float, *step: float) -> None:
        report(epoch, loss, **({"step": step[0]} if step else {}))

    call(*first)
    with pytest.raises(UserError, match=problem):
        call(*second)
    assert len(taken.evaluations) == 1


def test_a_later_attempt_reports_the_same_epochs_again() -> None:
    taken = Taken(earlier=2)
    OwnReport(taken, RECIPE)(3, 0.5)
    again = Taken()
    OwnReport(again, RECIPE)(1, 0.5)
    assert (taken.evaluations[0].index, again.evaluations[0].index) == (3, 1)


def test_a_loss_that_is_not_finite_has_diverged() -> None:
    with pytest.raises(Diverged):
        OwnReport(Taken(), RECIPE)(1, float("inf"))


@pytest.fixture
def build(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Objective]:
    """An objective of the body of a function."""
    from lrsearch.cli.compose import load_settings

    def built(body: str) -> Objective:
        name = f"own_{abs(hash(body))}"
        (own_folder / f"{name}.py").write_text(f"def objective(recipe, report):\n{body}")
        settings = load_settings(["+sweep=digits", f"objective._target_={name}.objective"])
        return build_objective(settings, None)

    return built


@pytest.mark.parametrize(
    "then", ["pass", "raise ValueError('cannot go on')", "report(9, 0.1); report(10, 0.1)"]
)
def test_what_report_raises_ends_the_trial_though_the_function_has_caught_it(
    build: Callable[[str], Objective], then: str
) -> None:
    body = f"    try:\n        report(1, 0.5)\n    except Exception:\n        {then}\n"
    taken, checkpoints = Taken(enough=1), Any
    with pytest.raises(TimeoutError, match="pruned"):
        build(body).run(RECIPE, 0, taken, lambda: False, checkpoints)  # type: ignore[arg-type]
    assert len(taken.evaluations) == 1
