"""A trial in the Trainer of Lightning."""

from __future__ import annotations

import math
from typing import Any

import fsspec
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lrsearch.errors import TrialPruned, UserError
from lrsearch.objectives.trial import Trial
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.schedules.schedule import Schedule
from lrsearch.training.task import Stopped


class LrsearchCallback(Callback):  # type: ignore[misc]
    """Reports each validation of a Trainer to a trial, and ends the training with the trial.

    Each metric that the module has logged is reported under its name, except those that begin with
    `train`: Lightning computes their mean over the epoch after the validation. The validation of
    the sanity check is not reported. A schedule that watches a metric is shown each validation.
    Optimizers with modes, such as schedule-free ones, are switched.

    The state is saved as `last.ckpt` in the trial's folder at the end of each epoch, and where the
    worker must leave the training: see `last_checkpoint`. `fit` then raises Stopped, and
    TrialPruned where the trial is pruned.
    """

    def __init__(self, trial: Trial) -> None:
        """Begin with a trial."""
        self.trial = trial
        self._reported_step = 0
        self._batches = 0
        self._pruned: TrialPruned | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training must know: the step of the last validation."""
        return {"reported_step": self._reported_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self._reported_step = state_dict["reported_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise UserError where the schedule was built for another number of steps."""
        steps = trainer.estimated_stepping_batches
        for schedule in _schedules(trainer):
            if math.isfinite(steps) and schedule.total_steps != steps:
                raise UserError(
                    f"the schedule was built for {schedule.total_steps} steps, but the Trainer "
                    f"takes {steps}: build it by configure_optimizers(self, trial.recipe)"
                )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Leave the training where the worker must: no step or validation is half done here."""
        self._set_mode(trainer, train=True)
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._leave_if_ended(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show that the training is alive."""
        self._batches = batch_idx + 1
        self.trial.heartbeat()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Switch the optimizers to the weights that are evaluated."""
        self._set_mode(trainer, train=False)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Show that the training is alive."""
        self.trial.heartbeat()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report a validation of the training, unless it was reported."""
        is_new = trainer.global_step > self._reported_step
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING or not is_new:
            return
        self._reported_step = trainer.global_step
        values = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if not name.startswith("train") and value.numel() == 1
        }
        try:
            if trainer.is_global_zero:
                self.trial.report(
                    self._epoch(trainer),
                    step=trainer.global_step,
                    optimizer=trainer.optimizers[0],
                    **values,
                )
        except TrialPruned as error:
            self._pruned = error
        except Stopped:
            pass  # it goes on to the end of this step, which can be resumed
        for schedule in _schedules(trainer):
            schedule.evaluated(values)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the state, and leave the training where the worker must."""
        if self._pruned is None:
            trainer.save_checkpoint(_path(self.trial))
        if not trainer.fit_loop.done:
            self._leave_if_ended(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save the state where the worker is leaving, by this callback or by Lightning's."""
        if isinstance(exception, Stopped | SIGTERMException):
            trainer.save_checkpoint(_path(self.trial))

    def _leave_if_ended(self, trainer: Trainer) -> None:
        # Asked by all processes, which leave together.
        if self.trial.should_stop():
            raise self._pruned or Stopped(f"stopped at step {trainer.global_step}")

    def _epoch(self, trainer: Trainer) -> float:
        """The epochs done; estimated from the steps where the length of an epoch is not known."""
        batches = trainer.num_training_batches
        if math.isfinite(batches):
            return float(trainer.current_epoch + self._batches / batches)
        return float(self.trial.epochs * trainer.global_step / trainer.max_steps)

    def _set_mode(self, trainer: Trainer, *, train: bool) -> None:
        for optimizer in trainer.optimizers:
            if hasattr(optimizer, "train") and hasattr(optimizer, "eval"):
                optimizer.train() if train else optimizer.eval()


def configure_optimizers(module: LightningModule, recipe: Recipe) -> dict[str, Any]:
    """The result of a module's `configure_optimizers`: a recipe's optimizer and schedule.

    The schedule is built for the steps that the Trainer takes, and stepped after each. Raises
    UserError where the Trainer has neither `max_steps` nor a known number of batches.
    """
    trainer = module.trainer
    steps, batches = trainer.estimated_stepping_batches, trainer.num_training_batches
    if not math.isfinite(steps) or steps < 1:
        raise UserError(
            "the schedule needs the number of steps of the training: give the Trainer max_epochs, "
            "or max_steps where the length of the data is not known"
        )
    if math.isfinite(batches):
        per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
        length = Length(int(steps), per_epoch, _steps_per_evaluation(trainer, per_epoch))
    else:
        length = Length.of(steps=int(steps))
    optimizer, schedule = recipe.build(module, length=length)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def last_checkpoint(trial: Trial) -> str | None:
    """The checkpoint in the trial's folder, for `fit(..., ckpt_path=)`; None without one."""
    path = _path(trial)
    filesystem, plain = fsspec.url_to_fs(path)
    return path if filesystem.exists(plain) else None


def _path(trial: Trial) -> str:
    return f"{trial.checkpoint_dir}/last.ckpt"


def _schedules(trainer: Trainer) -> list[Schedule]:
    """The schedules of recipes among those that the Trainer steps."""
    schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [schedule for schedule in schedules if isinstance(schedule, Schedule)]


def _steps_per_evaluation(trainer: Trainer, per_epoch: int) -> int:
    """The optimizer steps between two validations, as a mean."""
    batches: float | None = trainer.val_check_batch
    epochs: int | None = trainer.check_val_every_n_epoch
    if batches is None or not math.isfinite(batches):  # validations by the clock
        return per_epoch
    if epochs is None:
        return max(1, round(batches / int(trainer.accumulate_grad_batches)))
    validations = max(1, int(trainer.num_training_batches // batches))
    return max(1, round(epochs * per_epoch / validations))
