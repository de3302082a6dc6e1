"""lrsearch's own training in two processes, below a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from reports import Collected

from lrsearch.checkpoints.store import Store
from lrsearch.cli.compose import load_settings
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.build import build_objective
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.training.loop import Diverged, Stopped

RECIPE = Recipe(0.05, 64, ComponentConfig("sgd"), ComponentConfig("cosine"), grad_clip=1.0)
SWEEP = ["+sweep=digits", "train.epochs=3", "train.device=cpu", "train.checkpoint_every=5"]
pytestmark = pytest.mark.slow


class Stopping(Collected):
    """Receives evaluations, and wants to leave after the first."""

    def should_stop(self) -> bool:
        return bool(self)


def described(evaluation: Evaluation) -> dict[str, float | None]:
    """What two processes and one have in common, to rounding."""
    return {
        **evaluation.values,
        "step": evaluation.step,
        "lr": evaluation.lr_end[0],
        "lr_start": evaluation.lr_start[0],
        "grad_norm": evaluation.grad_norm,
        "clipped": evaluation.clipped,
    }


def test_two_processes_train_as_one_and_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    alone = Collected()
    one = build_objective(load_settings(SWEEP), None)
    expected = one.run(RECIPE, 3, alone, lambda: False, Store(str(tmp_path)).trial_slot("a", 0))
    two = build_objective(load_settings([*SWEEP, "train.gpus=2"]), None)
    checkpoints = Store(str(tmp_path)).trial_slot("b", 0)
    reports = Stopping()
    with pytest.raises(Stopped):
        two.run(RECIPE, 3, reports, reports.should_stop, checkpoints)
    assert [one.index for one in reports] == [1]
    weights = two.run(RECIPE, 3, reports, lambda: False, checkpoints)
    assert len(reports) == len(alone) == 3
    for ours, its in zip(reports, alone, strict=True):
        assert described(ours) == pytest.approx(described(its), rel=1e-3)
    assert weights is not None
    assert expected is not None
    assert weights.keys() == expected.keys()
    scores, its_scores = two.test(RECIPE, weights), one.test(RECIPE, expected)
    assert scores == its_scores is None or scores == pytest.approx(its_scores, rel=1e-3)


def test_a_divergence_of_two_processes_is_one(tmp_path: Path) -> None:
    settings = load_settings([*SWEEP, "train.gpus=2"])
    wild = Recipe(1e6, 64, ComponentConfig("sgd"), ComponentConfig("constant"))
    with pytest.raises(Diverged):
        build_objective(settings, None).run(
            wild, 3, Collected(), lambda: False, Store(str(tmp_path)).trial_slot("c", 0)
        )
