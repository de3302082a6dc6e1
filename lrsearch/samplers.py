"""The samplers of the catalogue. To add one: a function here and a YAML in conf/sampler."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrsearch.parameters import Parameter

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from lrsearch.forecast import History
    from lrsearch.space.space import Space


@dataclass(frozen=True)
class Order:
    """What a sampler is to suggest for, and what it may look at besides Optuna's study."""

    space: Space
    history: History
    given: Mapping[str, Any]
    """Parameters that the trial has already."""
    shared: int
    """The study's seed."""
    seed: int
    """The trial's own."""


@dataclass(frozen=True)
class SamplerKind:
    """A sampler: how it is built for a trial, and its parameters."""

    build: Callable[..., BaseSampler]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    enumerates: bool = False
    """Whether the settings are fixed beforehand: every combination of the space once."""


def _auto(order: Order, **arguments: Any) -> BaseSampler:
    from lrsearch.sampling.auto import AutoSampler

    return AutoSampler(
        order.space, order.history, order.given, order.shared, order.seed, **arguments
    )


def _tpe(order: Order, **arguments: Any) -> BaseSampler:
    from optuna.samplers import TPESampler

    # Without `group`, Optuna samples the parameters of a branch independently of all others.
    return TPESampler(seed=order.seed, group=True, **arguments)


def _random(order: Order) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=order.seed)


def _qmc(order: Order, **arguments: Any) -> BaseSampler:
    from optuna.samplers import QMCSampler, RandomSampler

    return QMCSampler(
        seed=order.shared,  # together the trials make one sequence
        # For parameters of branches; with the shared seed all trials would get the same values.
        independent_sampler=RandomSampler(seed=order.seed),
        scramble=True,
        warn_independent_sampling=False,
        **arguments,
    )


def _gp(order: Order, **arguments: Any) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=order.seed, warn_independent_sampling=False, **arguments)


def _cmaes(order: Order, **arguments: Any) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=order.seed, warn_independent_sampling=False, **arguments)


_STARTUP = Parameter("int", 10, 0, help="random trials before the model is used")

SAMPLERS: dict[str, SamplerKind] = {
    "auto": SamplerKind(
        _auto,
        {"n_startup_trials": Parameter("int", 6, 1, help="evenly spread before the model is used")},
    ),
    "tpe": SamplerKind(
        _tpe,
        {
            "n_startup_trials": _STARTUP,
            "n_ei_candidates": Parameter("int", 24, 1, help="candidates weighed for each value"),
        },
    ),
    "random": SamplerKind(_random),
    "qmc": SamplerKind(
        _qmc,
        {"qmc_type": Parameter("choice", "sobol", choices=("sobol", "halton"))},
    ),
    "gp": SamplerKind(_gp, {"n_startup_trials": _STARTUP}),
    "cmaes": SamplerKind(_cmaes, {"n_startup_trials": _STARTUP}),
    "grid": SamplerKind(_random, enumerates=True),
}


def build_sampler(name: str, arguments: Mapping[str, Any], order: Order) -> BaseSampler:
    """The sampler of one trial.

    Optuna's notes that a part of it is experimental are kept from the screen.
    """
    from optuna.exceptions import ExperimentalWarning

    kind = SAMPLERS[name]
    defaults = {key: parameter.default for key, parameter in kind.parameters.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return kind.build(order, **{**defaults, **arguments})
