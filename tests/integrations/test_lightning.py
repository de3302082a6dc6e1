"""A trial in the real Trainer of Lightning."""

from __future__ import annotations

import os
import signal
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
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrsearch.errors import TrialPruned, UserError
from lrsearch.objectives.trial import Trial
from lrsearch.parameters.durations import Length
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.training.task import Stopped

pytestmark = [
    pytest.mark.xdist_group("lightning"),
    pytest.mark.filterwarnings("ignore"),  # of Lightning's, about workers and loggers
]
N_TRAIN = 7 * BATCH - 3  # the last batch is partial
N_STEPS = 4 * 4  # four epochs of seven batches, two of them a step


def module_of(trial: Trial, steps: int | None = None, kill_at: int | None = None) -> Any:
    """A module as the documentation says; `steps` is a wrong number of steps."""
    from lightning.pytorch import LightningModule

    from lrsearch.integrations.lightning import configure_optimizers

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(SEED)
            self.net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
            self.rates: list[float] = []
            self.modes: list[bool] = []

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            x, y = batch
            loss = (self.net(x).squeeze(-1) - y).square().mean()
            self.log("train_loss", loss, on_epoch=True)
            if kill_at is not None and self.trainer.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            x, y = batch
            self.log("val_loss", (self.net(x).squeeze(-1) - y).square().mean())

        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            self.rates.append(float(optimizer.param_groups[0]["lr"]))

        def configure_optimizers(self) -> Any:
            if steps is not None:
                optimizer, schedule = trial.recipe.build(self, steps=steps)
                scheduler = {"scheduler": schedule, "interval": "step"}
                return {"optimizer": optimizer, "lr_scheduler": scheduler}
            return configure_optimizers(self, trial.recipe)

    return Net()


def data(n: int, batch_size: int) -> Any:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(n))
    return DataLoader(TensorDataset(x, x.sum(1)), batch_size=batch_size)


def trainer_of(trial: Trial, **options: Any) -> Any:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

    from lrsearch.integrations.lightning import LrsearchCallback

    folder = Path(trial.checkpoint_dir)
    known: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": int(trial.epochs),
        "accumulate_grad_batches": 2,
        "callbacks": [
            LrsearchCallback(trial),
            EarlyStopping("val_loss", patience=20),
            ModelCheckpoint(folder / "best", monitor="val_loss"),
        ],
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(**(known | options))


def fit(trial: Trial, *, kill_at: int | None = None, **options: Any) -> Any:
    """Train as the documentation says, and return the module."""
    from lrsearch.integrations.lightning import last_checkpoint

    module, trainer = module_of(trial, kill_at=kill_at), trainer_of(trial, **options)
    trainer.fit(
        module,
        data(N_TRAIN, BATCH),
        data(20, 20),
        ckpt_path=last_checkpoint(trial),
        weights_only=True,
    )
    return module


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_each_step_has_the_rate_of_the_preview(tmp_path: Path, name: str) -> None:
    report, recipe = Ended(), recipe_of(name)
    module = fit(trial_of(recipe, report, tmp_path))
    wanted = wanted_rates(recipe, Length(N_STEPS, 4, 4), report)
    assert module.rates == wanted[:-1]
    assert name != "plateau" or wanted[-1] < recipe.lr
    assert [(one.epoch, one.step) for one in report] == [(1, 4), (2, 8), (3, 12), (4, 16)]
    assert report.warnings == []


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"val_check_interval": 2, "max_epochs": 2}, [1, 2, 3, 5, 6, 7]),
        ({"val_check_interval": 6, "check_val_every_n_epoch": None}, [3, 6, 10, 13]),
        ({"check_val_every_n_epoch": 2}, [8, 16]),
        ({"max_epochs": -1, "max_steps": 10}, [4, 8]),
        ({"limit_train_batches": 5, "accumulate_grad_batches": 1}, [5, 10, 15, 20]),
    ],
)
def test_the_length_is_counted_as_the_trainer_counts_it(
    tmp_path: Path, options: dict[str, Any], steps: list[int]
) -> None:
    report, recipe = Ended(), recipe_of("cosine")
    module = fit(trial_of(recipe, report, tmp_path), **options)
    total = module.trainer.global_step
    assert module.rates == recipe.preview(Length(total, 4, 4)).rates[:-1]
    assert [one.step for one in report] == steps


def test_the_sanity_check_and_other_validations_are_not_reported(tmp_path: Path) -> None:
    report = Ended()
    module = fit(trial_of(recipe_of("cosine"), report, tmp_path, epochs=2))
    module.trainer.validate(module, data(20, 20), verbose=False)
    assert [set(one.values) for one in report] == [{"val_loss"}] * 2
    assert report[-1].lr_end == (module.trainer.optimizers[0].param_groups[0]["lr"],)
    assert report.beats >= 14


@pytest.mark.parametrize("options", [{}, {"val_check_interval": 4, "min_epochs": 3}])
def test_a_pruned_trial_leaves_fit_as_pruned(tmp_path: Path, options: dict[str, Any]) -> None:
    report = Ended(prune_at=2)
    with pytest.raises(TrialPruned):
        fit(trial_of(recipe_of("cosine"), report, tmp_path), **options)
    assert len(report) == 2


@pytest.mark.parametrize(
    ("name", "options"), [("plateau", {}), ("one_cycle", {"val_check_interval": 4})]
)
@pytest.mark.parametrize("questions", [6, 9], ids=["within an epoch", "at its end"])
def test_a_training_that_is_handed_back_goes_on_with_the_same_rates(
    tmp_path: Path, name: str, questions: int, options: dict[str, Any]
) -> None:
    """Lightning reads an epoch from its start after a resume, so losses may differ within one."""
    recipe, whole, report = recipe_of(name), Ended(), Ended()
    first = fit(trial_of(recipe, whole, tmp_path / "whole"), **options)
    left = trial_of(recipe, report, tmp_path / "parts", should_stop=StopAfter(questions))
    with pytest.raises(Stopped):
        fit(left, **options)
    done = report[-1].step
    second = fit(trial_of(recipe, report, tmp_path / "parts"), **options)
    assert [one.step for one in report] == [one.step for one in whole]
    assert [one.epoch for one in report] == [one.epoch for one in whole]
    assert second.trainer.global_step == N_STEPS
    rest = second.rates
    assert 0 < len(rest) <= N_STEPS - done
    if name != "plateau":
        assert rest == first.rates[-len(rest) :]


def test_lightnings_own_end_by_a_signal_saves_the_state(tmp_path: Path) -> None:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    report, recipe = Ended(), recipe_of("cosine")
    with pytest.raises(SIGTERMException):
        fit(trial_of(recipe, report, tmp_path), kill_at=6)
    second = fit(trial_of(recipe, report, tmp_path))
    rates = recipe.preview(Length(N_STEPS, 4, 4)).rates
    assert second.rates == rates[6:-1]
    assert [one.step for one in report] == [4, 8, 12, 16]


def test_a_schedule_of_another_length_is_refused(tmp_path: Path) -> None:
    trial = trial_of(recipe_of("wsd"), Ended(), tmp_path)
    with pytest.raises(UserError, match="built for 20 steps, but the Trainer takes 16"):
        trainer_of(trial).fit(module_of(trial, steps=20), data(N_TRAIN, BATCH), data(20, 20))


def test_a_training_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the Trainer max_epochs"):
        fit(trial_of(recipe_of("wsd"), Ended(), tmp_path), max_epochs=-1)


def test_an_optimizer_with_modes_is_switched(tmp_path: Path) -> None:
    free = ComponentConfig.own_code("schedulefree.AdamWScheduleFree")
    report = Ended()
    fit(trial_of(recipe_of("constant", optimizer=free), report, tmp_path, epochs=2))
    assert len(report) == 2


def test_the_example_of_the_documentation_trains(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, epochs = run_example("Lightning", own_folder, monkeypatch)
    assert [one.epoch for one in report] == list(range(1, int(epochs) + 1))
    assert report.warnings == []
