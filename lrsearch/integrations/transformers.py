"""A trial in the Trainer of Hugging Face's transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from lrsearch.errors import TrialPruned, UserError
from lrsearch.objectives.trial import Trial
from lrsearch.parameters.durations import Duration, Length
from lrsearch.schedules.schedule import Schedule
from lrsearch.training.task import Stopped

_SPEEDS = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
"""What the Trainer measures of its own speed."""


class LrsearchCallback(TrainerCallback):  # type: ignore[misc]
    """Reports each evaluation of a Trainer to a trial, and ends the training with the trial.

    The Trainer must have the schedule of the recipe, `optimizers=(optimizer, schedule)`, built for
    as many steps as it takes: `length_of` counts them. A metric `eval_NAME` is reported as
    `val_NAME`. A schedule that watches a metric is given each evaluation.

    Where the worker must leave the training, the Trainer saves a checkpoint and returns. With
    `output_dir=trial.checkpoint_dir` the next worker finds it: see `last_checkpoint`.
    """

    def __init__(self, trial: Trial, prefix: str = "eval") -> None:
        """Begin with a trial; evaluations with another `metric_key_prefix` are not reported."""
        self.trial, self.prefix = trial, prefix
        self._reported_step = 0
        self._is_starting = self._is_leaving = False

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        lr_scheduler: Any = None,
        **kwargs: Any,
    ) -> None:
        """See what was reported before a resume.

        Raises UserError where the schedule was built for another number of steps.
        """
        evaluated = [e["step"] for e in state.log_history if f"{self.prefix}_runtime" in e]
        self._reported_step = max([self._reported_step, *evaluated])
        self._is_starting = True
        if isinstance(lr_scheduler, Schedule) and lr_scheduler.total_steps != state.max_steps:
            raise UserError(
                f"the schedule was built for {lr_scheduler.total_steps} steps, but the Trainer "
                f"takes {state.max_steps}: build it with "
                f"recipe.build(model, length=length_of(arguments, len(train_dataset)))"
            )

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report from now on: `eval_on_start` evaluates before, after a resume, too."""
        self._is_starting = False

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report from now on, if a resumed training had no epoch left."""
        self._is_starting = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show that the training is alive, and leave it where the worker must."""
        self.trial.heartbeat()
        is_last = state.global_step >= state.max_steps
        if self.trial.should_stop() and not is_last:
            self._is_leaving = control.should_training_stop = True
            # At the end of an epoch the state is saved after the evaluation.
            control.should_save = control.should_save or not _ends_epoch(state)

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show that the training is alive."""
        self.trial.heartbeat()

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show that the training is alive."""
        self.trial.heartbeat()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take back what an end within an epoch would cause: an evaluation and a second save."""
        if self._is_leaving:
            control.should_save = _ends_epoch(state)
            control.should_evaluate = control.should_evaluate and _ends_epoch(state)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any],
        optimizer: Any = None,
        lr_scheduler: Any = None,
        **kwargs: Any,
    ) -> None:
        """Report an evaluation, unless it was reported, and show it to the schedule."""
        is_new = state.global_step > self._reported_step and not self._is_starting
        if not is_new or f"{self.prefix}_runtime" not in metrics:
            return
        self._reported_step = state.global_step
        values = self._values(metrics)
        try:
            if state.is_world_process_zero:
                self.trial.report(
                    state.epoch, step=state.global_step, optimizer=optimizer, **values
                )
        except TrialPruned:
            self._is_leaving = True
        except Stopped:
            self._is_leaving = control.should_save = True
        if isinstance(lr_scheduler, Schedule):
            lr_scheduler.evaluated(values)
        # Asked by all processes, which leave together.
        if self.trial.should_stop() and state.global_step < state.max_steps:
            self._is_leaving = True
        if self._is_leaving:
            control.should_training_stop = True

    def _values(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """The measured numbers of an evaluation, `eval_loss` as `val_loss`."""
        values = {}
        for name, value in metrics.items():
            prefix, short = name[: len(self.prefix) + 1], name[len(self.prefix) + 1 :]
            if prefix == f"{self.prefix}_" and short not in _SPEEDS:
                values[f"val_{short}"] = value
        return {name: value for name, value in values.items() if isinstance(value, int | float)}


def length_of(arguments: TrainingArguments, n_train: int) -> Length:
    """The length of a training of the Trainer on `n_train` samples, in optimizer steps."""
    accumulate = arguments.gradient_accumulation_steps
    known: dict[str, Any] = {
        "n_train": n_train,
        "batch_size": arguments.train_batch_size,
        "drop_last": arguments.dataloader_drop_last,
        "accumulate": accumulate,
        "processes": arguments.world_size,
    }
    steps = arguments.max_steps
    if steps <= 0:
        per_epoch = Length.of(**known, epochs=1).steps_per_epoch
        steps = math.ceil(arguments.num_train_epochs * per_epoch)
    eval_every = None
    if arguments.eval_strategy == "steps":
        every = arguments.eval_steps
        eval_every = Duration(math.ceil(steps * every) if every < 1 else every, "st")
    return Length.of(**known, steps=steps, eval_every=eval_every)


def last_checkpoint(trial: Trial) -> str | None:
    """The newest complete checkpoint in the trial's folder, for `resume_from_checkpoint`.

    The Trainer writes the file with its own state last, so a checkpoint without one was not
    finished. None where there is no checkpoint.
    """
    steps = {}
    for folder in Path(trial.checkpoint_dir).glob("checkpoint-*"):
        try:
            steps[folder] = json.loads((folder / TRAINER_STATE_NAME).read_text())["global_step"]
        except (OSError, ValueError):
            continue
    return str(max(steps, key=lambda folder: steps[folder])) if steps else None


def _ends_epoch(state: TrainerState) -> bool:
    return float(state.epoch).is_integer()
