"""Conversion of parameter values to shares of their ranges (0 to 1), and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from lrsearch.space.names import ParameterName

Array = NDArray[np.float64]


def is_smooth(distribution: BaseDistribution) -> bool:
    """Return whether every number within the range is a valid value."""
    return isinstance(distribution, FloatDistribution) and distribution.step is None


def snapped(name: str, distribution: BaseDistribution, shares: Array) -> Array:
    """Return the shares of the nearest valid values, for distributions with steps or choices."""
    if isinstance(distribution, CategoricalDistribution):
        count = len(distribution.choices)
        return np.asarray((np.minimum((shares * count).astype(int), count - 1) + 0.5) / count)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = ends(name, distribution)
    values = low + shares * (high - low)
    values = np.exp(values) if distribution.log else values
    step = distribution.step or 1
    values = distribution.low + np.round((values - distribution.low) / step) * step
    values = np.clip(values, distribution.low, distribution.high)
    values = np.log(values) if distribution.log else values
    return np.asarray((values - low) / (high - low))


def chosen_index(distribution: CategoricalDistribution, share: float) -> int:
    """Return the index of the choice at a share; each choice has an equal part of 0 to 1."""
    count = len(distribution.choices)
    return min(int(share * count), count - 1)


def counts_by_memory(name: str, distribution: FloatDistribution | IntDistribution) -> bool:
    """Return whether the scale of a parameter is log(1 - value), as of a momentum.

    What counts of a momentum is the number of steps that it averages over, 1 / (1 - momentum).
    """
    is_momentum = ParameterName.parse(name).argument == "momentum"
    return is_momentum and distribution.high < 1 and not distribution.step


def ends(name: str, distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """Return the ends of a range on its scale (linear, log, or log(1 - value)).

    With steps, they lie half a step beyond the first and the last value.
    """
    if counts_by_memory(name, distribution):
        return math.log1p(-distribution.low), math.log1p(-distribution.high)
    half = (distribution.step or 0) / 2
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def to_unit(name: str, distribution: BaseDistribution, value: Any) -> float:
    """Return the share of the range at which a value lies, 0 to 1."""
    if isinstance(distribution, CategoricalDistribution):
        index = distribution.to_internal_repr(value)
        return (float(index) + 0.5) / len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = ends(name, distribution)
    if counts_by_memory(name, distribution):
        scaled = math.log1p(-value)
    else:
        scaled = math.log(value) if distribution.log else float(value)
    return min(max((scaled - low) / (high - low), 0.0), 1.0)


def from_unit(name: str, distribution: BaseDistribution, share: float) -> Any:
    """Return the valid value nearest to a share of the range."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[chosen_index(distribution, share)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = ends(name, distribution)
    value = low + share * (high - low)
    if counts_by_memory(name, distribution):
        value = -math.expm1(value)
    elif distribution.log:
        value = math.exp(value)
    if distribution.step is not None:
        steps = round((value - distribution.low) / distribution.step)
        value = distribution.low + steps * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)
