"""The whole space, branches and all, as columns of numbers.

Parameters that mean the same in several branches share a column: the peak rate of each optimizer
(each in its own range), warm-up, batch size, final rate. A column that a branch does not have
holds its middle there.
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
_TEMPERATURE = {"lr": 1.0, "batch_size": -1.0, "momentum": -1.0}
_INACTIVE = 0.5


@dataclass(frozen=True)
class Points:
    """Settings: the branch of each, and shares of the ranges of its parameters."""

    branch: NDArray[np.intp]
    """points"""
    unit: Array
    """points × keys; 1/2 where the branch has no such parameter"""

    def __len__(self) -> int:
        return len(self.branch)

    def __getitem__(self, rows: Any) -> Points:
        return Points(self.branch[rows], self.unit[rows])

    @staticmethod
    def joined(parts: Sequence[Points]) -> Points:
        """All of them, one part after the other."""
        return Points(
            np.concatenate([part.branch for part in parts]),
            np.concatenate([part.unit for part in parts]),
        )


class JointSpace:
    """Encodes settings, and says what parameters a point stands for."""

    def __init__(self, space: Space) -> None:
        self.branches: list[dict[str, str]] = [
            {"optimizer": optimizer, "scheduler": scheduler}
            for optimizer in space.optimizer
            for scheduler in space.scheduler
        ]
        self.parameters = [_parameters(space, branches) for branches in self.branches]
        """By branch: the stored names, with what they are from."""
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
        """How the keys of one branch move log(rate / batch size / (1 - momentum)).

        In units of the rate's own range. A training depends on its rate, batch size and momentum
        mostly through this "temperature" (Smith, Le 2018, arXiv 1710.06451): as a column of its
        own it lets the model see a ridge across three others.
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
        """Of every parameter of every branch, by its stored name."""
        found: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(options)
            for name, options in self._options.items()
            if len(options) > 1
        }
        for parameters in self.parameters:
            found |= parameters
        return found

    def branches_with(self, given: Mapping[str, Any]) -> list[int]:
        """The branches that given parameters leave open; all, if they fit none."""
        found = [
            k
            for k, branches in enumerate(self.branches)
            if all(
                branches[name] == value if name in BRANCHES else name in self.parameters[k]
                for name, value in given.items()
            )
        ]
        return found or list(range(len(self.branches)))

    def in_turn(self, allowed: Sequence[int], seed: int) -> list[int]:
        """The branches in a random order in which each option comes as soon as it can."""
        left = list(np.random.default_rng(seed).permutation(allowed))
        used: Counter[str] = Counter()
        found = []
        while left:
            options = [[self.branches[k][name] for name in BRANCHES] for k in left]
            chosen = min(range(len(left)), key=lambda k: [used[one] for one in options[k]][::-1])
            used.update(options[chosen])
            found.append(int(left.pop(chosen)))
        return found

    def points(self, trials: Sequence[Mapping[str, Any]]) -> tuple[Points, list[int]]:
        """Trials by their parameters, and which of the trials; those of another space are left."""
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
        """The parameters of one branch, as far as given, as shares of their ranges."""
        found = np.full(len(self.keys), _INACTIVE)
        for name, distribution in self.parameters[branch].items():
            if name in parameters:
                found[self.column(name)] = to_unit(name, distribution, parameters[name])
        return found

    def column(self, name: str) -> int:
        """Where the units of a parameter stand."""
        return self.keys.index(_key(name))

    def _branch_of(self, parameters: Mapping[str, Any]) -> int | None:
        first = self.branches[0]
        wanted = {name: parameters.get(name, first[name]) for name in BRANCHES}
        return self.branches.index(wanted) if wanted in self.branches else None

    def values(self, branch: int, unit: Array) -> dict[str, Any]:
        """The parameters that a point stands for, by their stored names."""
        shares = dict(zip(self.keys, unit, strict=True))
        own = self.parameters[branch]
        found = {name: from_unit(name, one, float(shares[_key(name)])) for name, one in own.items()}
        return {**self.branches[branch], **found}

    def snapped(self, points: Points) -> Points:
        """The nearest points that whole numbers, steps and branches allow."""
        unit = np.where(self._active[points.branch], points.unit, _INACTIVE)
        for branch, parameters in enumerate(self.parameters):
            rows = np.flatnonzero(points.branch == branch)
            for name, distribution in parameters.items():
                if len(rows) and not is_smooth(distribution):
                    column = self.column(name)
                    unit[rows, column] = snapped(name, distribution, unit[rows, column])
        return Points(points.branch, unit)

    def encode(self, points: Points) -> Array:
        """Points × columns. Different choices are at distance 1, as the ends of a range are."""
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
        """The keys that are choices, and of how many."""
        return {
            _key(name): len(one.choices)
            for parameters in self.parameters
            for name, one in parameters.items()
            if isinstance(one, CategoricalDistribution)
        }


class _Recorder:
    """Walks one branch of a space and notes what is suggested there."""

    def __init__(self, branches: Mapping[str, str]) -> None:
        self._branches = branches
        self.found: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.found[name] = FloatDistribution(low, high, log=log, step=step)
        return low

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        self.found[name] = IntDistribution(low, high, log=log, step=step)
        return low

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name in BRANCHES:
            return self._branches[name]
        self.found[name] = CategoricalDistribution(choices)
        return choices[0]


def _parameters(space: Space, branches: Mapping[str, str]) -> dict[str, BaseDistribution]:
    recorder = _Recorder(branches)
    space.suggest(recorder)
    return {name: one for name, one in recorder.found.items() if not one.single()}


def _key(stored: str) -> str:
    """The column of a parameter: without its owner where all branches share it."""
    name = ParameterName.parse(stored)
    is_shared = name.argument in _SHARED and name.owner not in OWNERS and not name.group
    return str(replace(name, owner="")) if is_shared else stored


def _temperature_sign(stored: str) -> float | None:
    """The exponent of a parameter in the temperature; None where it has no part in it."""
    name = ParameterName.parse(stored)
    if name.is_reference or name.owner in OWNERS or name.group:
        return None
    return _TEMPERATURE.get(name.argument)
