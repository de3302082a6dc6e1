"""A trial in the real Trainer of transformers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from framework_trials import (
    BATCH,
    SEED,
    Ended,
    StopAfter,
    recipe_of,
    run_example,
    trial_of,
    wanted_rates,
)
from small_training import timeless
from torch import nn
from torch.utils.data import Dataset

from lrsearch.errors import UserError
from lrsearch.objectives.trial import Trial
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytestmark = [
    pytest.mark.xdist_group("transformers"),
    pytest.mark.filterwarnings("ignore:.*pin_memory"),
]
N_TRAIN = 7 * BATCH - 3  # the last batch is partial


class Net(nn.Module):
    """Returns its loss, as the models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.body, self.drop, self.head = nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = self.head(self.drop(self.body(x))).squeeze(-1)
        return {"loss": (outputs - labels).square().mean(), "logits": outputs}


class Sums(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, n: int) -> None:
        self.x = torch.randn(n, 3, generator=torch.Generator().manual_seed(n))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index], "labels": self.x[index].sum()}


def train(trial: Trial, *, steps: int | None = None, **options: Any) -> Any:
    """Train as the documentation says; `steps` is a wrong number of steps."""
    from transformers import Trainer, TrainingArguments

    from lrsearch.integrations.transformers import LrsearchCallback, last_checkpoint, length_of

    known: dict[str, Any] = {
        "output_dir": trial.checkpoint_dir,
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": trial.epochs,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": trial.seed,
    }
    arguments = TrainingArguments(**(known | options))
    model = Net()
    length = {"steps": steps} if steps else {"length": length_of(arguments, N_TRAIN)}
    trainer = Trainer(
        model,
        arguments,
        train_dataset=Sums(N_TRAIN),
        eval_dataset=Sums(20),
        optimizers=trial.recipe.build(model, **length),
        callbacks=[LrsearchCallback(trial)],
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(trial))
    return trainer


def logged_rates(trainer: Any) -> list[float]:
    """What the Trainer has logged at each step: the rate of that step."""
    history = trainer.state.log_history
    return [entry["learning_rate"] for entry in history if "learning_rate" in entry]


def length(trainer: Any) -> Any:
    from lrsearch.integrations.transformers import length_of

    return length_of(trainer.args, N_TRAIN)


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_the_rate_that_is_logged_is_the_previews_at_each_step(tmp_path: Path, name: str) -> None:
    """With a partial last batch, and a partial last window of gradient accumulation."""
    report, recipe = Ended(), recipe_of(name)
    trainer = train(
        trial_of(recipe, report, tmp_path), gradient_accumulation_steps=2, save_strategy="no"
    )
    wanted = wanted_rates(recipe, length(trainer), report)
    assert len(wanted) == trainer.state.max_steps + 1
    assert logged_rates(trainer) == wanted[:-1]
    assert name != "plateau" or wanted[-1] < recipe.lr
    assert report.warnings == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_train_epochs": 2.5, "dataloader_drop_last": True, "gradient_accumulation_steps": 4},
        {"max_steps": 11, "gradient_accumulation_steps": 2},
        {"eval_strategy": "steps", "eval_steps": 5},
        {"eval_strategy": "steps", "eval_steps": 0.3},
    ],
)
def test_the_length_is_counted_as_the_trainer_counts_it(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    report = Ended()
    options = {"save_strategy": "no", **options}
    trainer = train(trial_of(recipe_of("plateau"), report, tmp_path), **options)
    assert length(trainer).steps == trainer.state.max_steps
    assert [evaluation.step for evaluation in report] == [
        min(count * length(trainer).steps_per_evaluation, trainer.state.max_steps)
        for count in range(1, length(trainer).evaluations + 1)
    ]
    assert logged_rates(trainer) == wanted_rates(recipe_of("plateau"), length(trainer), report)[:-1]


def test_evaluations_are_reported_once_with_their_step_and_metrics(tmp_path: Path) -> None:
    report = Ended()
    trainer = train(trial_of(recipe_of("cosine"), report, tmp_path, epochs=2))
    trainer.evaluate()
    assert [(one.epoch, one.step) for one in report] == [(1.0, 7), (2.0, 14)]
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert [dict(one.values) for one in report] == [{"val_loss": loss} for loss in losses[:2]]
    assert report[-1].lr_end == (trainer.optimizer.param_groups[0]["lr"],)
    assert report.beats >= trainer.state.max_steps


@pytest.mark.parametrize("options", [{}, {"eval_strategy": "steps", "eval_steps": 3}])
def test_a_pruned_trial_ends_by_the_trainers_control_and_is_still_pruned(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    from lrsearch.errors import TrialPruned

    report = Ended(prune_at=2)
    trial = trial_of(recipe_of("cosine"), report, tmp_path)
    trainer = train(trial, save_strategy="no", **options)
    assert trainer.state.global_step == report[-1].step < trainer.state.max_steps
    assert len(report) == 2
    assert sum("eval_loss" in entry for entry in trainer.state.log_history) == 2
    with pytest.raises(TrialPruned):
        trial.raise_again()


@pytest.mark.parametrize("questions", [10, 13, 14], ids=["within an epoch", "before", "at its end"])
def test_a_training_that_is_handed_back_goes_on_to_the_same_end(
    tmp_path: Path, questions: int
) -> None:
    recipe, whole, report = recipe_of("plateau"), Ended(), Ended()
    first = train(trial_of(recipe, whole, tmp_path / "whole"))
    trial = trial_of(recipe, report, tmp_path / "parts", should_stop=StopAfter(questions))
    left = train(trial)
    assert left.state.global_step < left.state.max_steps
    second = train(trial_of(recipe, report, tmp_path / "parts"))
    assert timeless(report) == timeless(whole)
    assert logged_rates(second) == logged_rates(first)
    assert all(
        torch.equal(one, other)
        for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True)
    )


@pytest.mark.parametrize("questions", [10, 14], ids=["within an epoch", "at its end"])
def test_an_evaluation_at_the_start_does_not_count(tmp_path: Path, questions: int) -> None:
    """Nor after a resume, where it may have been reported already."""
    recipe, whole, report = recipe_of("plateau"), Ended(), Ended()
    first = train(trial_of(recipe, whole, tmp_path / "whole"))
    trial = trial_of(recipe, report, tmp_path / "parts", should_stop=StopAfter(questions))
    train(trial, eval_on_start=True)
    second = train(trial_of(recipe, report, tmp_path / "parts"), eval_on_start=True)
    assert [(one.step, one.lr_end) for one in report] == [(one.step, one.lr_end) for one in whole]
    assert logged_rates(second) == logged_rates(first)


def test_a_checkpoint_that_was_not_finished_is_passed_over(tmp_path: Path) -> None:
    from lrsearch.integrations.transformers import last_checkpoint

    trial = trial_of(recipe_of("cosine"), Ended(), tmp_path)
    assert last_checkpoint(trial) is None
    for step, state in ((9, '{"global_step": 9}'), (10, '{"global_step": 10}'), (11, '{"glob')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-12").mkdir()
    assert last_checkpoint(trial) == str(tmp_path / "checkpoint-10")


def test_a_schedule_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="built for 20 steps, but the Trainer takes 28"):
        train(trial_of(recipe_of("wsd"), Ended(), tmp_path), steps=20)


def test_an_optimizer_with_modes_is_switched(tmp_path: Path) -> None:
    free = ComponentConfig.own_code("schedulefree.AdamWScheduleFree")
    recipe: Recipe = recipe_of("constant", optimizer=free)
    report = Ended()
    train(trial_of(recipe, report, tmp_path, epochs=2), save_strategy="no")
    assert len(report) == 2


def test_the_example_of_the_documentation_trains(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, epochs = run_example("Hugging Face's Trainer", own_folder, monkeypatch)
    assert [one.epoch for one in report] == list(range(1, int(epochs) + 1))
    assert report.warnings == []
