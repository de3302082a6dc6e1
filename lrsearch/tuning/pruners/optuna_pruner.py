"""A pruner of the user's own: an Optuna pruner, which sees the trials as an Optuna study.

An Optuna pruner sees a study whose trials have intermediate values, and some pruners (successive
halving, Hyperband) write into a trial, at each step, what they need to judge others later. Our
evaluations are rows of a table instead. So each worker keeps an Optuna study in memory, in which
it reports the value at every moment of every trial once and calls the pruner, as if Optuna ran them
all.
"""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState

from lrsearch.errors import UserError
from lrsearch.own_code import call_own
from lrsearch.registry import Component, ComponentConfig
from lrsearch.tuning.pruners.rules import Curve, Mode, Peers, Pruner, Running

_STUDY = "lrsearch"
"""Name of the study in memory. Hyperband draws brackets by it: it is the same in all workers."""


def own_pruner(component: Component, config: ComponentConfig, mode: Mode) -> OwnPruner:
    """Build the pruner at a dotted path: an Optuna pruner class, or a function that returns one.

    Raises UserError for anything else, and OwnCodeError where the user's code raises.
    """
    built = call_own(component.load(), component.path, **config.arguments)
    if not isinstance(built, BasePruner):
        raise UserError(
            f"pruner: {component.path} must be, or return, an optuna.pruners.BasePruner, "
            f"not {type(built).__name__}"
        )
    return OwnPruner(built, component.path, mode)


class OwnPruner(Pruner):
    """Prunes as an Optuna pruner decides. Its steps are the moments, counted from 1."""

    def __init__(self, pruner: BasePruner, path: str, mode: Mode) -> None:
        self._path = path
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="minimize" if mode == "min" else "maximize",
            sampler=RandomSampler(seed=0),
            pruner=pruner,
            study_name=_STUDY,
        )
        optuna.logging.set_verbosity(verbosity)
        self._trials: list[Trial] = []
        """Trials of the study in memory; their indices are the trial numbers of the real study."""
        self._reported: list[int] = []
        """Last moment of each trial that was reported."""
        self._ended: set[int] = set()

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        """Return whether the trial ends now. Raises OwnCodeError where the pruner raises."""
        curves = peers.curves(self._first_unfinished)
        own = next((curve for curve in curves if curve.slot == trial.slot), None)
        if own is None:
            return False
        for number in range(len(self._trials), 1 + max(curve.number for curve in curves)):
            self._trials.append(self._study.ask())
            self._reported.append(0)
            assert self._trials[-1].number == number
        for curve in curves:
            if curve is not own and curve.number not in self._ended:
                self._report(curve)
        answers = [False]
        for step, value in zip(trial.moments, trial.values, strict=True):
            if step > self._reported[own.number]:
                answers.append(self._judge(own.number, step, value))
        return answers[-1]

    @property
    def _first_unfinished(self) -> int:
        """Number of the first trial whose end was not reported yet."""
        return next(n for n in range(len(self._trials) + 1) if n not in self._ended)

    def _report(self, curve: Curve) -> None:
        """Report the new values of another trial, and its end."""
        for step, value in curve.values:
            if step > self._reported[curve.number]:
                self._judge(curve.number, step, math.nan if value is None else value)
        if curve.outcome is None:
            return
        self._ended.add(curve.number)
        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(curve.outcome)
        if state is None or (state == TrialState.COMPLETE and curve.final is None):
            state = TrialState.FAIL
        value = curve.final if state == TrialState.COMPLETE else None
        self._study.tell(self._trials[curve.number], value, state=state)

    def _judge(self, number: int, step: int, value: float) -> bool:
        """Report one value, and return whether the pruner ends the trial there."""
        trial = self._trials[number]
        self._reported[number] = step
        trial.report(value, step)
        answer: Any = call_own(trial.should_prune, self._path)
        return bool(answer)
