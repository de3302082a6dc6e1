"""The pruners. To add one: a rule, an entry in PRUNERS here, a YAML in conf/pruner."""

from __future__ import annotations

import math
from typing import Any

from lrsearch.errors import UserError
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry
from lrsearch.tuning.pruners.rules import (
    Halving,
    Hyperband,
    Mode,
    Never,
    Patient,
    Percentile,
    Pruner,
    Threshold,
)


def _median(mode: Mode, evaluations: int, **arguments: Any) -> Pruner:
    return Percentile(mode, 50.0, **arguments)


def _percentile(mode: Mode, evaluations: int, **arguments: Any) -> Pruner:
    return Percentile(mode, **arguments)


def _asha(mode: Mode, evaluations: int, **arguments: Any) -> Pruner:
    return Halving(mode, **arguments)


def _hyperband(mode: Mode, evaluations: int, **arguments: Any) -> Pruner:
    return Hyperband(mode, evaluations, **arguments)


def _patient(mode: Mode, evaluations: int, **arguments: Any) -> Pruner:
    return Patient(build_pruner(ComponentConfig("median"), evaluations, mode), mode, **arguments)


def _schedule_aware(mode: Mode, evaluations: int, **arguments: Any) -> Pruner:
    from lrsearch.tuning.pruners.schedule_aware import ScheduleAware

    return ScheduleAware(mode, **arguments)


def _threshold(
    mode: Mode, evaluations: int, lower: float | None, upper: float | None, n_warmup_steps: int
) -> Pruner:
    if lower is None and upper is None:
        raise UserError("pruner: threshold needs pruner.lower, pruner.upper, or both")
    if lower is not None and upper is not None and lower > upper:
        raise UserError(f"pruner.lower: {lower:g} is above pruner.upper, {upper:g}: swap them")
    return Threshold(
        -math.inf if lower is None else lower,
        math.inf if upper is None else upper,
        n_warmup_steps,
    )


def _none(mode: Mode, evaluations: int) -> Pruner:
    return Never()


_STARTUP = Parameter("int", 5, 0, help="completed trials before any is pruned")
_WARMUP = Parameter("int", 0, 0, help="the first evaluation at which a trial may be pruned")
_FIRST = Parameter("int", 1, 1, help="evaluations before the first cut")
_MEDIAN = {"n_startup_trials": _STARTUP, "n_warmup_steps": _WARMUP}

PRUNERS = Registry(
    "pruner",
    [
        Component(
            "schedule_aware",
            _schedule_aware,
            {
                "keep": Parameter("float", 0.3, 0.0, 1.0, help="the best share stays, less later"),
                "good": Parameter(
                    "float", 0.065, 0.0, 1.0, help="a trial may become one of the best such share"
                ),
                "chance": Parameter(
                    "float", 0.03, 0.0, 1.0, help="of that, above which it goes on"
                ),
                "spare": Parameter("float", 0.05, 0.0, 1.0, help="share not pruned, as a check"),
            },
            "ends trials whose forecast, along their own schedule, will not be among the best",
        ),
        Component(
            "median", _median, _MEDIAN, "ends trials worse than the median at the same evaluation"
        ),
        Component(
            "percentile",
            _percentile,
            {
                "percentile": Parameter("float", 25.0, 0.0, 100.0, help="the best so many %"),
                **_MEDIAN,
            },
            "ends trials that are not among the best percentile at the same evaluation",
        ),
        Component(
            "asha",
            _asha,
            {
                "min_resource": _FIRST,
                "reduction_factor": Parameter("int", 4, 2, help="one in so many goes on"),
            },
            "asynchronous successive halving",
        ),
        Component(
            "hyperband",
            _hyperband,
            {
                "min_resource": _FIRST,
                "reduction_factor": Parameter("int", 3, 2, help="one in so many goes on"),
            },
            "successive halving in several brackets",
        ),
        Component(
            "patient",
            _patient,
            {
                "patience": Parameter(
                    "int", 2, 0, help="evaluations without gain that are forgiven"
                ),
                "min_delta": Parameter("float", 0.0, 0.0, help="loss that is forgiven, too"),
            },
            "median, but never while the trial still improves",
        ),
        Component(
            "threshold",
            _threshold,
            {
                "lower": Parameter("float", None, help="prune below"),
                "upper": Parameter("float", None, help="prune above"),
                "n_warmup_steps": _WARMUP,
            },
            "ends trials outside of given bounds",
        ),
        Component("none", _none, help="nothing is pruned"),
    ],
    where="pruner",
)


def build_pruner(config: ComponentConfig, evaluations: int, mode: Mode) -> Pruner:
    """Build a pruner.

    `evaluations` is the largest number of evaluations of a trial, which Hyperband plans with.
    Raises UserError when the arguments contradict one another.
    """
    component = PRUNERS.component(config)
    if config.own:
        from lrsearch.tuning.pruners.optuna_pruner import own_pruner

        return own_pruner(component, config, mode)
    pruner: Pruner = component.load()(mode, evaluations, **component.complete(config.arguments))
    return pruner
