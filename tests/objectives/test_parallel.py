"""lrsearch's own training in two processes, below a worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from reports import Collected

from lrsearch.checkpoints.store import Store
from lrsearch.cli.compose import load_settings
from lrsearch.errors import TrialPruned
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import TrainingEnded
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.settings import Settings
from lrsearch.states import Outcome
from lrsearch.training.loop import Diverged, Stopped

RECIPE = Recipe(0.05, 64, ComponentConfig("sgd"), ComponentConfig("cosine"), grad_clip=1.0)
SWEEP = ["+sweep=digits", "train.epochs=3", "train.device=cpu", "train.checkpoint_every=5"]


class Stopping(Collected):
    """Receives evaluations, and wants to leave after the first."""

    def should_stop(self) -> bool:
        return bool(self)


class Pruning(Collected):
    """Ends the trial at its second evaluation."""

    def __call__(self, evaluation: Evaluation) -> None:
        super().__call__(evaluation)
        if len(self) == 2:
            raise TrialPruned("enough")


MODEL = """
import os
import torch

class Net(torch.nn.Linear):
    def __init__(self, fails):
        super().__init__(64, 10)
        self.fails, self.steps = fails, 0

    def forward(self, x):
        self.steps += self.training
        if self.fails and self.steps == 20 and os.environ.get("RANK") == "1":
            raise getattr(torch, self.fails, KeyError)("told by the second process")
        return super().forward(x.flatten(1))
"""


def own_model(folder: Path, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> Settings:
    """The settings of a sweep over a model that fails in the second process, after 20 steps."""
    (folder / "second_rank.py").write_text(MODEL)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(folder))
    model = ["model._target_=second_rank.Net", "~model.hidden", f"+model.fails={fails!r}"]
    return load_settings([*SWEEP, *model, "train.gpus=2"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "outcome"),
    [("KeyError", Outcome.FAILED), ("OutOfMemoryError", Outcome.OUT_OF_MEMORY)],
)
def test_what_one_process_fails_of_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, outcome: Outcome
) -> None:
    objective = build_objective(own_model(tmp_path, monkeypatch, fails), None)
    checkpoints = Store(str(tmp_path)).trial_slot("d", 0)
    with pytest.raises(TrainingEnded, match=r"(?s)told by|out of memory at step 20") as caught:
        objective.run(RECIPE, 3, Collected(), lambda: False, checkpoints)
    assert caught.value.outcome == outcome


@pytest.mark.slow
def test_all_processes_leave_a_trial_that_is_pruned(tmp_path: Path) -> None:
    """Else the others would wait for the first, and be ended by the signals of a long grace."""
    settings = load_settings([*SWEEP, "train.gpus=2"])
    objective = build_objective(settings, None, logs=tmp_path)
    checkpoints = Store(str(tmp_path)).trial_slot("e", 0)
    with pytest.raises(TrialPruned):
        objective.run(RECIPE, 3, Pruning(), lambda: False, checkpoints)
    (log,) = tmp_path.glob("*.log")
    assert "rror" not in log.read_text()


def test_ramps_run_here_in_pieces_of_the_size_of_a_share() -> None:
    one = build_objective(load_settings(SWEEP), None)
    two = build_objective(load_settings([*SWEEP, "train.gpus=3"]), None)
    assert isinstance(one, TrainingObjective)
    assert isinstance(two, TrainingObjective)
    sizes = [objective.task(RECIPE, 3, lambda: False).micro_batch for objective in (one, two)]
    assert [size and size.training for size in sizes] == [None, 22]


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


@pytest.mark.slow
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
    torch.testing.assert_close(dict(weights), dict(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_divergence_of_two_processes_is_one(tmp_path: Path) -> None:
    settings = load_settings([*SWEEP, "train.gpus=2"])
    wild = Recipe(1e6, 64, ComponentConfig("sgd"), ComponentConfig("constant"))
    with pytest.raises(Diverged):
        build_objective(settings, None).run(
            wild, 3, Collected(), lambda: False, Store(str(tmp_path)).trial_slot("c", 0)
        )
