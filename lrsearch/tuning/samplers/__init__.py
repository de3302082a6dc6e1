"""The samplers. To add one: a function and an entry in SAMPLERS here, a YAML in conf/sampler."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError
from lrsearch.own_code import call_own
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from lrsearch.space.space import Space
    from lrsearch.tuning.forecast import History


@dataclass(frozen=True)
class SamplerInputs:
    """Inputs of a sampler for one trial, besides Optuna's study."""

    space: Space
    history: History
    fixed: Mapping[str, Any]
    """Parameters whose values the trial has already, by stored name."""
    study_seed: int
    """Seed of the study, the same for all trials."""
    seed: int
    """Seed of the trial."""


@dataclass(frozen=True)
class Sampler(Component):
    """A sampler: a function of `SamplerInputs` and its parameters that builds an Optuna sampler."""

    enumerates: bool = False
    """Whether the settings are known beforehand: every combination of the space once."""
    adaptive: bool = True
    """Whether it chooses by the values of earlier trials, which then are not independent."""


def _auto(inputs: SamplerInputs, **arguments: Any) -> BaseSampler:
    from lrsearch.tuning.samplers.auto import AutoSampler

    return AutoSampler(
        inputs.space, inputs.history, inputs.fixed, inputs.study_seed, inputs.seed, **arguments
    )


def _tpe(inputs: SamplerInputs, **arguments: Any) -> BaseSampler:
    from optuna.samplers import TPESampler

    # Without `group`, Optuna samples the parameters of a branch independently of all others.
    return TPESampler(seed=inputs.seed, group=True, **arguments)


def _random(inputs: SamplerInputs) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=inputs.seed)


def _qmc(inputs: SamplerInputs, **arguments: Any) -> BaseSampler:
    from optuna.samplers import QMCSampler, RandomSampler

    return QMCSampler(
        seed=inputs.study_seed,  # all trials together make one sequence
        # Samples the parameters of branches; with the study's seed, all trials would get the same
        # values.
        independent_sampler=RandomSampler(seed=inputs.seed),
        scramble=True,
        warn_independent_sampling=False,
        **arguments,
    )


def _gp(inputs: SamplerInputs, **arguments: Any) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=inputs.seed, warn_independent_sampling=False, **arguments)


def _cmaes(inputs: SamplerInputs, **arguments: Any) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=inputs.seed, warn_independent_sampling=False, **arguments)


_STARTUP = Parameter("int", 10, 0, help="random trials before the model is used")

SAMPLERS = Registry(
    "sampler",
    [
        Sampler(
            "auto",
            _auto,
            {
                "n_startup_trials": Parameter(
                    "int", 6, 1, help="evenly spread before the model is used"
                )
            },
            "a model of all branches together that also learns from curves of pruned trials",
        ),
        Sampler(
            "tpe",
            _tpe,
            {
                "n_startup_trials": _STARTUP,
                "n_ei_candidates": Parameter(
                    "int", 24, 1, help="candidates weighed for each value"
                ),
            },
            "Optuna's tree-structured Parzen estimator",
        ),
        Sampler("random", _random, help="independent random values", adaptive=False),
        Sampler(
            "qmc",
            _qmc,
            {
                "qmc_type": Parameter(
                    "choice", "sobol", choices=("sobol", "halton"), help="the sequence"
                )
            },
            "a quasi-random sequence that fills the space evenly",
            adaptive=False,
        ),
        Sampler("gp", _gp, {"n_startup_trials": _STARTUP}, "Optuna's Gaussian process"),
        Sampler("cmaes", _cmaes, {"n_startup_trials": _STARTUP}, "CMA-ES, for numeric parameters"),
        Sampler(
            "grid",
            _random,
            help="every combination of the space once",
            enumerates=True,
            adaptive=False,
        ),
    ],
    where="sampler",
    offered=("seed",),
)


def enumerates(config: ComponentConfig) -> bool:
    """Return whether a sampler's settings are known beforehand; False for the user's own."""
    return not config.own and SAMPLERS[config.name].enumerates


def is_adaptive(config: ComponentConfig) -> bool:
    """Return whether a sampler chooses by earlier values; the user's own is taken to do so."""
    return config.own or SAMPLERS[config.name].adaptive


def build_sampler(config: ComponentConfig, inputs: SamplerInputs) -> BaseSampler:
    """Build the sampler of one trial, without Optuna's warnings about experimental features."""
    from optuna.exceptions import ExperimentalWarning

    component = SAMPLERS.component(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if config.own:
            return _own(component, config, inputs.seed)
        built: BaseSampler = component.load()(inputs, **component.complete(config.arguments))
        return built


def check_own_sampler(config: ComponentConfig) -> None:
    """Build a sampler of the user's own to see that it can be. Raises UserError, OwnCodeError."""
    _own(SAMPLERS.component(config), config, seed=0)


def _own(component: Component, config: ComponentConfig, seed: int) -> BaseSampler:
    """Build a sampler of the user's own: an Optuna class, or a function that returns a sampler.

    Each trial has one of its own, with the trial's seed if it takes `seed`, so that the suggested
    settings do not depend on which worker asks for them.
    """
    from optuna.samplers import BaseSampler

    offered = {"seed": seed} if "seed" in component.parameters else {}
    built = call_own(component.load(), component.path, **{**offered, **config.arguments})
    if not isinstance(built, BaseSampler):
        raise UserError(
            f"sampler: {component.path} must be, or return, an optuna.samplers.BaseSampler, "
            f"not {type(built).__name__}"
        )
    return built
