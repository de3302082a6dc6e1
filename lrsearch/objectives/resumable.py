"""A training that saves checkpoints, and resumes from the newest one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch

from lrsearch.checkpoints.pace import Pace
from lrsearch.checkpoints.store import Checkpoints
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Report
from lrsearch.training.loop import Stopped, Task

_log = logging.getLogger(__name__)


class Trainable(Protocol):
    """A `Training`, or several of them as one."""

    @property
    def task(self) -> Task:
        """The task that is trained now."""

    @property
    def step(self) -> int:
        """Optimizer steps so far."""

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """The weights at the evaluation that counts."""

    def evaluations(self) -> Iterator[Evaluation]:
        """Train to the end, yielding at each evaluation."""

    def state_dict(self) -> dict[str, Any]:
        """The state that `load_state_dict` needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""


class Resumable:
    """One training and its checkpoints.

    A checkpoint is saved at evaluations and after epochs as often as `pace` allows, after every
    `train.checkpoint_every` steps, and when the training is stopped.
    """

    def __init__(
        self,
        begin: Callable[[], Trainable],
        checkpoints: Checkpoints,
        facts: Mapping[str, str],
        pace: Pace | None = None,
    ) -> None:
        """Resume from the newest checkpoint of this training, or begin one with `begin`.

        `facts` identify the training together with its task: they name its model and its data.
        """
        self._checkpoints, self._pace = checkpoints, pace or Pace()
        self._history: list[dict[str, Any]] = []
        self._training = begin()
        self._training_is = _fingerprint(self._training.task, facts)
        state = checkpoints.load()
        if state is not None and not self._resume(state):
            self._training, self._history = begin(), []
        self._saved_at = self._training.step
        self._training.task.checkpoint = self._checkpoint

    def run(self, report: Report) -> Mapping[str, torch.Tensor]:
        """Train to the end and return the weights of the evaluation that counts.

        Raises what `report` and the training raise.
        """
        training = self._training
        report.restore([Evaluation(**fields) for fields in self._history])
        try:
            for evaluation in training.evaluations():
                self._history.append(dataclasses.asdict(evaluation))
                report(evaluation)
                if not training.is_done:
                    self._checkpoint(is_due=False)
        except Stopped:
            self._save()
            raise
        return training.weights

    def _checkpoint(self, is_due: bool) -> None:
        # All ranks take part: the state has the generators of each.
        if self._training.task.ranks.decided(is_due or self._pace.due()):
            self._save()

    def _save(self) -> None:
        if self._training.step == self._saved_at:
            return
        with self._pace.saving():
            state = {
                "step": self._training.step,
                "training_is": self._training_is,
                "training": self._training.state_dict(),
                "history": self._history,
            }
            if self._training.task.ranks.is_first:
                self._checkpoints.save(state)
        self._saved_at = self._training.step

    def _resume(self, state: dict[str, Any]) -> bool:
        """Load a state; return False if it is not of this training, which then cannot be used."""
        if state.get("training_is") != self._training_is:
            _log.warning("the checkpoint is not used: it belongs to another training")
            return False
        try:
            self._training.load_state_dict(state["training"])
            self._history = state["history"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            _log.warning("the checkpoint is not used, the code has changed: %s", error)
            return False
        return True


def _fingerprint(task: Task, facts: Mapping[str, str]) -> str:
    """The sha256 of everything that determines the numbers of a training, except code."""
    settings = task.settings
    identity = {
        **facts,
        "recipe": task.recipe.to_dict(),
        "seed": task.seed,
        "length": dataclasses.asdict(task.length),
        "augmentation": [task.crop, task.flip],
        "amp": settings.amp,
        "channels_last": settings.channels_last,
        "ema": settings.ema,
        "early_stopping": settings.early_stopping,
        "loss": repr(settings.loss),
        "metrics": sorted(task.metrics),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()
