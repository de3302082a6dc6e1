"""How the user's own training function is called, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reports import Collected

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.errors import TrialPruned, UserError
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Objective
from lrsearch.objectives.build import build_objective
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.training.loop import Stopped

RECIPE = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("constant"))


class Ending(Collected):
    """Receives evaluations, and prunes the trial at the first."""

    def __call__(self, evaluation: Evaluation) -> None:
        super().__call__(evaluation)
        raise TrialPruned


@pytest.fixture
def build(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Objective]:
    """An objective of the body of a function."""
    from lrsearch.cli.compose import load_settings

    def built(body: str, arguments: str = "recipe, report") -> Objective:
        name = f"own_{abs(hash(arguments + body))}"
        (own_folder / f"{name}.py").write_text(f"def objective({arguments}):\n{body}")
        settings = load_settings(
            ["+sweep=digits", "train.epochs=2", f"objective._target_={name}.objective"]
        )
        return build_objective(settings, None)

    return built


@pytest.mark.parametrize(
    "then", ["pass", "raise ValueError('cannot go on')", "report(9, 0.1); report(10, 0.1)"]
)
def test_what_report_raises_ends_the_trial_though_the_function_has_caught_it(
    build: Callable[..., Objective], then: str
) -> None:
    body = f"    try:\n        report(1, 0.5)\n    except BaseException:\n        {then}\n"
    ending = Ending()
    with pytest.raises(TrialPruned):
        build(body).run(RECIPE, 0, ending, lambda: False, NoCheckpoints())
    assert len(ending) == 1


@pytest.mark.parametrize("arguments", ["trial", "run, *, seed", "trial, epochs", "trial, n=3"])
def test_a_function_of_one_argument_gets_the_trial(
    build: Callable[..., Objective], arguments: str
) -> None:
    trial = arguments.partition(",")[0]
    body = f"    {trial}.report(1, {trial}.recipe.lr)\n    assert {trial}.epochs > 0\n"
    collected = Collected()
    build(body, arguments).run(RECIPE, 0, collected, lambda: False, NoCheckpoints())
    assert [dict(one.values) for one in collected] == [{"val_loss": 0.1}]


def test_weights_that_a_function_keeps_are_those_of_the_trial(
    build: Callable[..., Objective],
) -> None:
    body = (
        "    import torch\n    trial.keep_weights({'w': torch.ones(2)})\n    trial.report(1, 0.5)\n"
    )
    weights = build(body, "trial").run(RECIPE, 0, Collected(), lambda: False, NoCheckpoints())
    assert weights is not None
    assert weights["w"].tolist() == [1.0, 1.0]


def test_a_function_that_reports_nothing_is_an_error(build: Callable[..., Objective]) -> None:
    with pytest.raises(UserError, match="never reported"):
        build("    pass\n").run(RECIPE, 0, Collected(), lambda: False, NoCheckpoints())


@pytest.mark.parametrize(
    ("body", "handed_back"),
    [
        ("    report(1, 0.5)\n    if should_stop():\n        return\n    report(2, 0.5)\n", True),
        ("    report(1, 0.5)\n", True),  # by a signal handler of its own, for example
        ("    report(1, 0.5)\n    report(2, 0.5)\n", False),
        ("    should_stop()\n", True),
    ],
)
def test_a_function_that_returns_before_its_end_while_told_to_stop_is_handed_back(
    build: Callable[..., Objective], body: str, handed_back: bool
) -> None:
    objective = build(body, "recipe, report, should_stop")
    if not handed_back:
        objective.run(RECIPE, 0, Collected(), lambda: True, NoCheckpoints())
        return
    with pytest.raises(Stopped):
        objective.run(RECIPE, 0, Collected(), lambda: True, NoCheckpoints())


def test_a_function_that_ends_early_by_itself_is_done(build: Callable[..., Objective]) -> None:
    collected = Collected()
    build("    report(1, 0.5)\n").run(RECIPE, 0, collected, lambda: False, NoCheckpoints())
    assert len(collected) == 1


def test_a_function_that_returns_after_should_stop_said_that_it_is_pruned_is_pruned(
    build: Callable[..., Objective],
) -> None:
    body = (
        "    try:\n        trial.report(1, 0.5)\n    except BaseException:\n        pass\n"
        "    assert trial.should_stop()\n"
    )
    with pytest.raises(TrialPruned):
        build(body, "trial").run(RECIPE, 0, Ending(), lambda: False, NoCheckpoints())
