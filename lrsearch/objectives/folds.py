"""Cross-validation: the trainings of all folds, one after the other, as one training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from lrsearch.evaluation import Evaluation
from lrsearch.seeds import derived_seed
from lrsearch.settings import MetricSettings
from lrsearch.training.loop import Task, Training

Values = Mapping[str, float]


def fold_seed(seed: int, fold: int) -> int:
    """The seed of the training on one fold: of its initial weights, order and augmentation."""
    return derived_seed(seed, "fold", fold)


class FoldedTraining:
    """Trains on one fold after the other; it has the methods of a `Training`.

    Evaluations, steps and epochs are counted through all folds. The values of an evaluation are
    means over the folds so far: of each finished fold the values at the evaluation that counts by
    `metric.at`, of the present fold those that would count if it ended now. So the last evaluation
    has the mean over all folds.
    """

    def __init__(
        self, begin: Callable[[int], Training], folds: int, metric: MetricSettings
    ) -> None:
        """Begin with the first fold; `begin` builds the training of a fold, counted from 0."""
        self._begin, self._folds, self._metric = begin, folds, metric
        self._fold = 0
        self._training = begin(0)
        self._finished: list[Values] = []
        """Of each finished fold, the values that count."""
        self._counts: Values | None = None
        """The values that count so far in the present fold."""

    @property
    def task(self) -> Task:
        """The task of the present fold."""
        return self._training.task

    @property
    def step(self) -> int:
        """Optimizer steps through all folds."""
        return self._fold * self.task.length.steps + self._training.step

    @property
    def is_done(self) -> bool:
        """Whether the last fold has ended."""
        return self._fold == self._folds - 1 and self._training.is_done

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights of the present fold, at its evaluation that counts."""
        return self._training.weights

    def evaluations(self) -> Iterator[Evaluation]:
        """Train on all folds, yielding at each evaluation. Raises as `Training.evaluations`."""
        while True:
            for evaluation in self._training.evaluations():
                yield self._over_folds(evaluation)
            if self._fold == self._folds - 1:
                return
            self._next_fold()

    def state_dict(self) -> dict[str, Any]:
        """The state that `load_state_dict` needs, loadable with `weights_only=True`."""
        return {
            "fold": self._fold,
            "finished": [dict(values) for values in self._finished],
            "counts": None if self._counts is None else dict(self._counts),
            "training": self._training.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`. Raises as `Training.load_state_dict`."""
        if state["fold"] != self._fold:
            self._enter(state["fold"])
        self._finished, self._counts = list(state["finished"]), state["counts"]
        self._training.load_state_dict(state["training"])

    def _next_fold(self) -> None:
        assert self._counts is not None, "each fold is evaluated at its end"
        self._finished.append(self._counts)
        self._counts = None
        self._enter(self._fold + 1)

    def _enter(self, fold: int) -> None:
        checkpoint = self.task.checkpoint
        self._fold, self._training = fold, self._begin(fold)
        self.task.checkpoint = checkpoint

    def _over_folds(self, evaluation: Evaluation) -> Evaluation:
        """An evaluation of the present fold as one of the whole training."""
        self._counts = self._counting(evaluation.values)
        length = self.task.length
        known = [*self._finished, self._counts]
        is_last_fold = self._fold == self._folds - 1
        return dataclasses.replace(
            evaluation,
            index=self._fold * length.evaluations + evaluation.index,
            epoch=self._fold * length.steps / length.steps_per_epoch + evaluation.epoch,
            step=self._fold * length.steps + evaluation.step,
            values={
                name: sum(values[name] for values in known) / len(known)
                for name in evaluation.values
                if all(name in values for values in known)
            },
            early_end=evaluation.early_end if is_last_fold else None,
        )

    def _counting(self, values: Values) -> Values:
        """The values that count in the present fold after one more evaluation."""
        best, name = self._counts, self._metric.name
        if self._metric.at == "last" or best is None or not {name} <= values.keys() & best.keys():
            return values  # where the metric is missing, whoever takes the report says so
        if not math.isfinite(best[name]):
            return values
        if not math.isfinite(values[name]):
            # With nan=fail, the trial fails as soon as it is reported.
            return best if self._metric.nan == "worst" else values
        is_better = (
            values[name] < best[name] if self._metric.mode == "min" else values[name] > best[name]
        )
        return values if is_better else best
