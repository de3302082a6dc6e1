"""The whole space, with all its branches, as columns of numbers.

A branch is a pair of optimizer and scheduler. Parameters that mean the same in several branches
share a column: the peak rate of each optimizer (each in its own range), warm-up, batch size, final
rate. In branches without its parameter, a column has its middle value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from lrsearch.recipe import COMMON
from lrsearch.space.names import BRANCHES, OWNERS, ParameterName
from lrsearch.space.space import Space
from lrsearch.tuning.samplers.units import (
    Array,
    counts_by_memory,
    ends,
    from_unit,
    is_smooth,
    snapped,
    to_unit,
)

_SHARED = frozenset({*COMMON, "final", "weight_decay", "momentum"})
"""Arguments that share a column across branches."""
_TEMPERATURE = {"lr": 1.0, "batch_size": -1.0, "momentum": -1.0}
"""Sign of each argument's scale in the logarithm of the temperature."""
_INACTIVE = 0.5
"""Value of a column in a branch without its parameter."""


@dataclass(frozen=True)
class Points:
    """Settings, each by its branch and its parameters as shares of their ranges, 0 to 1."""

    branch: NDArray[np.intp]
    """Index of the branch; shape: points."""
    unit: Array
    """Shares; shape: points × keys; 1/2 where the branch has no such parameter."""

    def __len__(self) -> int:
        return len(self.branch)

    def __getitem__(self, rows: Any) -> Points:
        return Points(self.branch[rows], self.unit[rows])

    @staticmethod
    def joined(parts: Sequence[Points]) -> Points:
        """Concatenate points."""
        return Points(
            np.concatenate([part.branch for part in parts]),
            np.concatenate([part.unit for part in parts]),
        )


class JointSpace:
    """Converts the settings of a space to points and columns of numbers, and back."""

    def __init__(self, space: Space) -> None:
        self.branches: list[dict[str, str]] = [
            {"optimizer": optimizer, "scheduler": scheduler}
            for optimizer in space.optimizer
            for scheduler in space.scheduler
        ]
        self.parameters = [_parameters(space, branches) for branches in self.branches]
        """For each branch, the distributions of its parameters by stored name."""
        self.keys = list(dict.fromkeys(_key(name) for own in self.parameters for name in own))
        self._active = np.array([self._mask(own) for own in self.parameters])
        self._temperature = [self._weights(own) for own in self.parameters]
        self._options = {
            name: tuple(dict.fromkeys(branches[name] for branches in self.branches))
            for name in BRANCHES
        }

    def _mask(self, parameters: Mapping[str, BaseDistribution]) -> list[bool]:
        own = {_key(name) for name in parameters}
        return [key in own for key in self.keys]

    def _weights(self, parameters: Mapping[str, BaseDistribution]) -> Array:
        """Return the weight of each key of a branch in log(rate / batch size / (1 - momentum)).

        In units of the range of the rate. A training depends on its rate, batch size and momentum
        mostly through this "temperature" (Smith, Le 2018, arXiv 1710.06451). As a column of its
        own it lets the model represent a ridge across the three other columns.
        """
        weights = np.zeros(len(self.keys))
        for name, distribution in parameters.items():
            sign = _temperature_sign(name)
            if sign is not None and isinstance(distribution, FloatDistribution | IntDistribution):
                low, high = ends(name, distribution)
                if ParameterName.parse(name).is_log2:
                    weights[self.column(name)] = sign * math.log(2) * (high - low)
                elif distribution.log or counts_by_memory(name, distribution):
                    weights[self.column(name)] = sign * (high - low)
        span = abs(weights[self.keys.index("lr")]) if "lr" in self.keys else 0.0
        return weights / span if span else np.zeros(len(self.keys))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions of all parameters of all branches, by stored name."""
        distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(options)
            for name, options in self._options.items()
            if len(options) > 1
        }
        for parameters in self.parameters:
            distributions |= parameters
        return distributions

    def branches_with(self, fixed: Mapping[str, Any]) -> list[int]:
        """Return the branches that are compatible with fixed parameters; all, if none is."""
        compatible = [
            k
            for k, branches in enumerate(self.branches)
            if all(
                branches[name] == value if name in BRANCHES else name in self.parameters[k]
                for name, value in fixed.items()
            )
        ]
        return compatible or list(range(len(self.branches)))

    def in_turn(self, allowed: Sequence[int], seed: int) -> list[int]:
        """Return the branches in a random order that uses all options evenly from the start.

        So the first few trials see each optimizer and each scheduler.
        """
        left = list(np.random.default_rng(seed).permutation(allowed))
        used: Counter[str] = Counter()
        ordered = []
        while left:
            options = [[self.branches[k][name] for name in BRANCHES] for k in left]
            chosen = min(range(len(left)), key=lambda k: [used[name] for name in options[k]][::-1])
            used.update(options[chosen])
            ordered.append(int(left.pop(chosen)))
        return ordered

    def points(self, trials: Sequence[Mapping[str, Any]]) -> tuple[Points, list[int]]:
        """Convert the parameters of trials to points; return these and the indices of the trials.

        Trials of another space are left out.
        """
        rows, branches, units = [], [], []
        for row, parameters in enumerate(trials):
            branch = self._branch_of(parameters)
            if branch is not None and self.parameters[branch].keys() <= parameters.keys():
                rows.append(row)
                branches.append(branch)
                units.append(self.unit(branch, parameters))
        unit = np.array(units).reshape(len(rows), len(self.keys))
        return Points(np.array(branches, dtype=np.intp), unit), rows

    def unit(self, branch: int, parameters: Mapping[str, Any]) -> Array:
        """Return the parameters of a branch as shares of their ranges; shape: keys.

        Those that `parameters` lacks have the middle value.
        """
        shares = np.full(len(self.keys), _INACTIVE)
        for name, distribution in self.parameters[branch].items():
            if name in parameters:
                shares[self.column(name)] = to_unit(name, distribution, parameters[name])
        return shares

    def column(self, name: str) -> int:
        """Return the column of a parameter in `Points.unit`, by its stored name."""
        return self.keys.index(_key(name))

    def _branch_of(self, parameters: Mapping[str, Any]) -> int | None:
        first = self.branches[0]
        wanted = {name: parameters.get(name, first[name]) for name in BRANCHES}
        return self.branches.index(wanted) if wanted in self.branches else None

    def values(self, branch: int, unit: Array) -> dict[str, Any]:
        """Return the parameters of a point by stored name, its branch included."""
        shares = dict(zip(self.keys, unit, strict=True))
        own = self.parameters[branch]
        values = {
            name: from_unit(name, distribution, float(shares[_key(name)]))
            for name, distribution in own.items()
        }
        return {**self.branches[branch], **values}

    def snapped(self, points: Points) -> Points:
        """Return the nearest points whose integers, steps and choices are valid values."""
        unit = np.where(self._active[points.branch], points.unit, _INACTIVE)
        for branch, parameters in enumerate(self.parameters):
            rows = np.flatnonzero(points.branch == branch)
            for name, distribution in parameters.items():
                if len(rows) and not is_smooth(distribution):
                    column = self.column(name)
                    unit[rows, column] = snapped(name, distribution, unit[rows, column])
        return Points(points.branch, unit)

    def encode(self, points: Points) -> Array:
        """Return the columns of the model; shape: points × columns.

        Two different choices are at distance 1, like the two ends of a range.
        """
        columns = [points.unit]
        for key, choices in self._categoricals().items():
            column = self.keys.index(key)
            chosen = np.minimum((points.unit[:, column] * choices).astype(int), choices - 1)
            active = self._active[points.branch, column]
            columns.append(np.eye(choices)[chosen] * active[:, None] / math.sqrt(2))
        plain = [key not in self._categoricals() for key in self.keys]
        columns[0] = points.unit[:, plain]
        if np.any(self._temperature):
            weights = np.array(self._temperature)[points.branch]
            moved = np.sum(weights * (points.unit - _INACTIVE), axis=1, keepdims=True)
            columns.append(_INACTIVE + moved)
        for name, options in self._options.items():
            if len(options) > 1:
                of_branch = [options.index(branches[name]) for branches in self.branches]
                columns.append(np.eye(len(options))[of_branch][points.branch] / math.sqrt(2))
        return np.hstack(columns)

    def _categoricals(self) -> dict[str, int]:
        """Return the number of choices of each categorical key."""
        return {
            _key(name): len(distribution.choices)
            for parameters in self.parameters
            for name, distribution in parameters.items()
            if isinstance(distribution, CategoricalDistribution)
        }


class _Recorder:
    """Stands in for an Optuna trial, to record the distributions that one branch suggests."""

    def __init__(self, branches: Mapping[str, str]) -> None:
        self._branches = branches
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.distributions[name] = FloatDistribution(low, high, log=log, step=step)
        return low

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        self.distributions[name] = IntDistribution(low, high, log=log, step=step)
        return low

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name in BRANCHES:
            return self._branches[name]
        self.distributions[name] = CategoricalDistribution(choices)
        return choices[0]


def _parameters(space: Space, branches: Mapping[str, str]) -> dict[str, BaseDistribution]:
    """Return the distributions of a branch that have more than one value, by stored name."""
    recorder = _Recorder(branches)
    space.suggest(recorder)
    return {
        name: distribution
        for name, distribution in recorder.distributions.items()
        if not distribution.single()
    }


def _key(stored: str) -> str:
    """Return the key of a stored name: without its owner where all branches share its column."""
    name = ParameterName.parse(stored)
    is_shared = name.argument in _SHARED and name.owner not in OWNERS and not name.group
    return str(replace(name, owner="")) if is_shared else stored


def _temperature_sign(stored: str) -> float | None:
    """Return the sign of a parameter in the log temperature; None where it is no part of it."""
    name = ParameterName.parse(stored)
    if name.is_reference or name.owner in OWNERS or name.group:
        return None
    return _TEMPERATURE.get(name.argument)
