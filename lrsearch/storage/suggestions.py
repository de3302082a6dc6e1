"""Parameters that an Optuna sampler suggests for a trial, before they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from lrsearch.storage.optuna_internals import set_parameter

Chosen = Mapping[str, tuple[Any, BaseDistribution]]
"""Parameters by stored name as Optuna stores them: a value and its distribution."""


class Suggestions:
    """Suggests parameters of one trial as Optuna's own `Trial` does, but does not store them.

    Parameters that the trial has from an earlier attempt are kept, and `fixed` ones are used
    without asking the sampler.
    """

    def __init__(self, study: optuna.Study, trial: FrozenTrial, fixed: Mapping[str, Any]) -> None:
        self._study, self._trial, self._fixed = study, trial, fixed
        self._space: dict[str, BaseDistribution] | None = None
        self._relative: dict[str, Any] = {}
        self.chosen: dict[str, tuple[Any, BaseDistribution]] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._suggest(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._suggest(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._suggest(name, CategoricalDistribution(choices))

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self.chosen:
            return self.chosen[name][0]
        if name in self._trial.params:
            value = self._trial.params[name]
        elif name in self._fixed:
            value = self._fixed[name]
        elif distribution.single():
            value = distribution.to_external_repr(_only_value(distribution))
        elif name in self._jointly():
            value = self._relative[name]
        else:
            value = self._study.sampler.sample_independent(
                self._study, self._trial, name, distribution
            )
        self.chosen[name] = (value, distribution)
        # Samplers read the parameters that the trial has so far.
        set_parameter(self._trial, name, value, distribution)
        return value

    def _jointly(self) -> Mapping[str, Any]:
        """Return the parameters that the sampler chooses together, sampled at the first call."""
        if self._space is None:
            sampler = self._study.sampler
            self._space = sampler.infer_relative_search_space(self._study, self._trial)
            self._relative = sampler.sample_relative(self._study, self._trial, self._space)
        return self._relative


def _only_value(distribution: BaseDistribution) -> float:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution.low
    return 0.0  # the first choice
