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
class Sampler(Component):
    """A sampler: a function of an `Order` and its parameters that returns an Optuna sampler."""

    enumerates: bool = False
    """Whether the settings are fixed beforehand: every combination of the space once."""


def _auto(order: Order, **arguments: Any) -> BaseSampler:
    from lrsearch.tuning.samplers.auto import AutoSampler

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
        Sampler("random", _random, help="independent random values"),
        Sampler(
            "qmc",
            _qmc,
            {
                "qmc_type": Parameter(
                    "choice", "sobol", choices=("sobol", "halton"), help="the sequence"
                )
            },
            "a quasi-random sequence that fills the space evenly",
        ),
        Sampler("gp", _gp, {"n_startup_trials": _STARTUP}, "Optuna's Gaussian process"),
        Sampler("cmaes", _cmaes, {"n_startup_trials": _STARTUP}, "CMA-ES, for numeric parameters"),
        Sampler("grid", _random, help="every combination of the space once", enumerates=True),
    ],
    where="sampler",
    offered=("seed",),
)


def enumerates(config: ComponentConfig) -> bool:
    """Whether the settings are fixed beforehand; those of a sampler of the user's are not."""
    return not config.own and SAMPLERS[config.name].enumerates


def build_sampler(config: ComponentConfig, order: Order) -> BaseSampler:
    """The sampler of one trial.

    Optuna's notes that a part of it is experimental are kept from the screen.
    """
    from optuna.exceptions import ExperimentalWarning

    component = SAMPLERS.component(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if config.own:
            return _own(component, config, order.seed)
        built: BaseSampler = component.load()(order, **component.complete(config.arguments))
        return built


def check_own_sampler(config: ComponentConfig) -> None:
    """Build a sampler of the user's own once. Raises UserError or OwnCodeError."""
    _own(SAMPLERS.component(config), config, seed=0)


def _own(component: Component, config: ComponentConfig, seed: int) -> BaseSampler:
    """A sampler of the user's own: an Optuna sampler's class, or a function that returns one.

    It is made anew for each trial, with the trial's seed where it takes `seed`: a study's settings
    do not depend on which worker suggests them.
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
