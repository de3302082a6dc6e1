"""The sampler: a model of the joint space, the next setting by expected improvement."""

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
"""With more trials the model is slow, and TPE takes over."""
_RANDOM, _NEAR = 1000, 400
_NEAR_WIDTHS = (0.1, 0.03)
_REFINED, _CHILDREN = 4, 60
_REFINED_WIDTHS = (0.05, 0.02, 0.01, 0.005)
_GAINS = (0.3, 0.1, 0.03, 0.0)
"""By how much the best value is to be beaten, in turn, in units of the scale of losses: a search
that is content with any gain polishes where it is, and one that is not never finishes."""
_OTHER_BRANCH = 0.1
"""How often a neighbour is on another branch."""


class AutoSampler(BaseSampler):
    """Learns from complete, pruned, broken and running trials alike."""

    def __init__(
        self,
        space: Space,
        history: History,
        given: Mapping[str, Any],
        shared: int,
        seed: int,
        n_startup_trials: int,
    ) -> None:
        self._joint, self._history, self._given = JointSpace(space), history, given
        self._shared, self._rng = shared, np.random.default_rng(seed)
        self._startup = n_startup_trials
        self._independent = RandomSampler(seed=seed)
        self._fallback = TPESampler(seed=seed, group=True)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters of all branches: the trial takes those of its own."""
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
        seen = observe([others[row] for row in rows], study.direction, self._history)
        allowed = self._joint.branches_with(self._given)
        if seen is None or trial.number < self._startup:
            chosen = self._spread(trial.number, allowed)
        else:
            # Its imports take a second, which the first trials do without.
            from lrsearch.tuning.samplers.score import Score

            gain = _GAINS[trial.number % len(_GAINS)]
            chosen = self._best(Score(self._joint, seen, gain), allowed)
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
        """The middle of the space, then a sequence that fills it evenly, the same for all."""
        from scipy.stats import qmc

        width = len(self._joint.keys)
        unit = np.full((1, width), 0.5)
        if number and width:
            sequence = qmc.Sobol(width, rng=np.random.default_rng(self._shared))
            unit = sequence.fast_forward(number).random(1)
        branch = self._joint.in_turn(allowed, self._shared)[number % len(allowed)]
        return self._fixed(Points(np.array([branch], dtype=np.intp), unit))

    def _best(self, score: Score, allowed: list[int]) -> Points:
        """Where the expected improvement is largest, as far as a random search finds."""

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
        return self._fixed(Points(branch, self._rng.random((count, len(self._joint.keys)))))

    def _near(self, centers: Points, count: int, width: float, allowed: list[int]) -> Points:
        """Neighbours of some points: some of their parameters moved, sometimes the branch."""
        rows = self._rng.integers(len(centers), size=count)
        shape = (count, len(self._joint.keys))
        moved = self._rng.normal(size=shape) * width * (self._rng.random(shape) < 0.6)
        own = centers.branch[rows]
        elsewhere = (self._rng.random(count) < _OTHER_BRANCH) | ~np.isin(own, allowed)
        branch = np.where(elsewhere, self._rng.choice(allowed, size=count), own)
        return self._fixed(Points(branch, np.clip(centers.unit[rows] + moved, 0.0, 1.0)))

    def _fixed(self, points: Points) -> Points:
        """With what is given beforehand, and snapped."""
        unit = points.unit.copy()
        for branch in set(points.branch.tolist()):
            for name in self._given:
                if name in self._joint.parameters[branch]:
                    column = self._joint.column(name)
                    unit[points.branch == branch, column] = self._joint.unit(branch, self._given)[
                        column
                    ]
        return self._joint.snapped(Points(points.branch, unit))
