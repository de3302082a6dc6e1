"""The sampler `auto`: expected improvement by a model of all branches of the space together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from lrsearch.space.space import Space
from lrsearch.tuning.forecast import History
from lrsearch.tuning.samplers.joint import JointSpace, Points
from lrsearch.tuning.samplers.observations import observe

if TYPE_CHECKING:
    from lrsearch.tuning.samplers.score import Score

_LARGEST = 300
"""Largest number of trials that the model is used with; it is slow for more: TPE takes over."""
_RANDOM, _NEAR = 1000, 400
"""Candidates: random ones, and ones near the best known settings for each of the widths."""
_NEAR_WIDTHS = (0.1, 0.03)
"""Standard deviations of the steps to these neighbours, in shares of a range."""
_REFINED, _CHILDREN = 4, 60
"""Candidates that each refinement keeps, and the neighbours that it adds for each of them."""
_REFINED_WIDTHS = (0.05, 0.02, 0.01, 0.005)
"""Standard deviations of the steps in the refinements, in shares of a range."""
_GAINS = (0.3, 0.1, 0.03, 0.0)
"""Gains over the best value that count as improvements, for one trial after the other, in units of
`Scale`. With 0 alone a search stays near its best setting; with large ones alone it never refines
it."""
_OTHER_BRANCH = 0.1
"""Probability that a neighbour is on another branch."""


class AutoSampler(BaseSampler):
    """A sampler that learns from complete, pruned, broken and running trials."""

    def __init__(
        self,
        space: Space,
        history: History,
        fixed: Mapping[str, Any],
        study_seed: int,
        seed: int,
        n_startup_trials: int,
    ) -> None:
        self._joint, self._history, self._fixed = JointSpace(space), history, fixed
        self._study_seed, self._rng = study_seed, np.random.default_rng(seed)
        self._startup = n_startup_trials
        self._independent = RandomSampler(seed=seed)
        self._fallback = TPESampler(seed=seed, group=True)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters of all branches; a trial uses those of its own branch."""
        if self._is_slow(study):
            return self._fallback.infer_relative_search_space(study, trial)
        return self._joint.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._is_slow(study):
            return self._fallback.sample_relative(study, trial, search_space)
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        _, rows = self._joint.points([other.params for other in others])
        observations = observe([others[row] for row in rows], study.direction, self._history)
        allowed = self._joint.branches_with(self._fixed)
        if observations is None or trial.number < self._startup:
            chosen = self._spread(trial.number, allowed)
        else:
            # Imported late: its imports take a second, which the first trials need not wait for.
            from lrsearch.tuning.samplers.score import Score

            gain = _GAINS[trial.number % len(_GAINS)]
            chosen = self._best(Score(self._joint, observations, gain), allowed)
        return self._joint.values(int(chosen.branch[0]), chosen.unit[0])

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        sampler = self._fallback if self._is_slow(study) else self._independent
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _is_slow(self, study: Study) -> bool:
        return len(study.get_trials(deepcopy=False)) > _LARGEST

    def _spread(self, number: int, allowed: list[int]) -> Points:
        """Return the middle of the space for trial 0, then a point of a Sobol sequence.

        The sequence, seeded by the study, is the same for all trials.
        """
        from scipy.stats import qmc

        width = len(self._joint.keys)
        unit = np.full((1, width), 0.5)
        if number and width:
            sequence = qmc.Sobol(width, rng=np.random.default_rng(self._study_seed))
            unit = sequence.fast_forward(number).random(1)
        branch = self._joint.in_turn(allowed, self._study_seed)[number % len(allowed)]
        return self._valid(Points(np.array([branch], dtype=np.intp), unit))

    def _best(self, score: Score, allowed: list[int]) -> Points:
        """Return the point with the largest score that a random search with refinements finds."""

        def leading(points: Points, count: int) -> Points:
            return points[np.argsort(-score(points), kind="stable")[:count]]

        parts = [self._random(_RANDOM, allowed)]
        parts += [self._near(score.good, _NEAR, width, allowed) for width in _NEAR_WIDTHS]
        points = Points.joined(parts)
        for width in _REFINED_WIDTHS:
            top = leading(points, _REFINED)
            near = self._near(top, _CHILDREN * len(top), width, allowed)
            points = Points.joined([top, near])
        return leading(points, 1)

    def _random(self, count: int, allowed: list[int]) -> Points:
        branch = self._rng.choice(allowed, size=count)
        return self._valid(Points(branch, self._rng.random((count, len(self._joint.keys)))))

    def _near(self, centers: Points, count: int, width: float, allowed: list[int]) -> Points:
        """Return `count` random neighbours of the points, with some parameters moved.

        `width` is the standard deviation of a step. A few neighbours are on another branch.
        """
        rows = self._rng.integers(len(centers), size=count)
        shape = (count, len(self._joint.keys))
        moved = self._rng.normal(size=shape) * width * (self._rng.random(shape) < 0.6)
        own = centers.branch[rows]
        elsewhere = (self._rng.random(count) < _OTHER_BRANCH) | ~np.isin(own, allowed)
        branch = np.where(elsewhere, self._rng.choice(allowed, size=count), own)
        return self._valid(Points(branch, np.clip(centers.unit[rows] + moved, 0.0, 1.0)))

    def _valid(self, points: Points) -> Points:
        """Set the fixed parameters of points, and move the others to their nearest valid values."""
        unit = points.unit.copy()
        for branch in set(points.branch.tolist()):
            for name in self._fixed:
                if name in self._joint.parameters[branch]:
                    column = self._joint.column(name)
                    fixed = self._joint.unit(branch, self._fixed)
                    unit[points.branch == branch, column] = fixed[column]
        return self._joint.snapped(Points(points.branch, unit))
