"""The samplers of the catalogue. To add one: a function here and a YAML in conf/sampler."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrsearch.parameters import Parameter

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class SamplerKind:
    """A sampler: how it is built from the study's seed, the trial's own, and its parameters."""

    build: Callable[..., BaseSampler]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    enumerates: bool = False
    """Whether the settings are fixed beforehand: every combination of the space once."""


def _tpe(shared: int, seed: int, **arguments: Any) -> BaseSampler:
    from optuna.samplers import TPESampler

    # Without `group`, Optuna samples the parameters of a branch independently of all others.
    return TPESampler(seed=seed, group=True, **arguments)


def _random(shared: int, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _qmc(shared: int, seed: int, **arguments: Any) -> BaseSampler:
    from optuna.samplers import QMCSampler, RandomSampler

    return QMCSampler(
        seed=shared,  # together the trials make one sequence
        # For parameters of branches; with the shared seed all trials would get the same values.
        independent_sampler=RandomSampler(seed=seed),
        scramble=True,
        warn_independent_sampling=False,
        **arguments,
    )


def _gp(shared: int, seed: int, **arguments: Any) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, warn_independent_sampling=False, **arguments)


def _cmaes(shared: int, seed: int, **arguments: Any) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=seed, warn_independent_sampling=False, **arguments)


_STARTUP = Parameter("int", 10, 0, help="random trials before the model is used")

SAMPLERS: dict[str, SamplerKind] = {
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


def build_sampler(name: str, arguments: Mapping[str, Any], shared: int, seed: int) -> BaseSampler:
    """The sampler of one trial, from the study's seed and the trial's own.

    Optuna's notes that a part of it is experimental are kept from the screen.
    """
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name].build(shared, seed, **arguments)
