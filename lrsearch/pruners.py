"""The pruners of the catalogue. To add one: a function here and a YAML in conf/pruner."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrsearch.parameters import Parameter

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


@dataclass(frozen=True)
class PrunerKind:
    """A pruner: how it is built from the number of evaluations of a whole trial and parameters."""

    build: Callable[..., BasePruner]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


def _median(evaluations: int, **arguments: Any) -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(**arguments)


def _percentile(evaluations: int, percentile: float = 25.0, **arguments: Any) -> BasePruner:
    from optuna.pruners import PercentilePruner

    return PercentilePruner(percentile, **arguments)


def _asha(evaluations: int, **arguments: Any) -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(**{"min_resource": 1, **arguments})


def _hyperband(evaluations: int, **arguments: Any) -> BasePruner:
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(max_resource=max(evaluations, 1), **arguments)


def _patient(evaluations: int, patience: int = 2, min_delta: float = 0.0) -> BasePruner:
    from optuna.pruners import MedianPruner, PatientPruner

    return PatientPruner(MedianPruner(), patience=patience, min_delta=min_delta)


def _threshold(evaluations: int, **arguments: Any) -> BasePruner:
    from optuna.pruners import ThresholdPruner

    return ThresholdPruner(**arguments)


def _none(evaluations: int) -> BasePruner:
    from optuna.pruners import NopPruner

    return NopPruner()


_STARTUP = Parameter("int", 5, 0, help="completed trials before any is pruned")
_WARMUP = Parameter("int", 0, 0, help="evaluations of a trial before it may be pruned")
_FACTOR = Parameter("int", 4, 2, help="one in so many goes on")
_MEDIAN = {"n_startup_trials": _STARTUP, "n_warmup_steps": _WARMUP}

PRUNERS: dict[str, PrunerKind] = {
    "median": PrunerKind(_median, _MEDIAN),
    "percentile": PrunerKind(
        _percentile,
        {"percentile": Parameter("float", 25.0, 0.0, 100.0, help="the best so many %"), **_MEDIAN},
    ),
    "asha": PrunerKind(
        _asha,
        {
            "min_resource": Parameter("int", 1, 1, help="evaluations before the first cut"),
            "reduction_factor": _FACTOR,
        },
    ),
    "hyperband": PrunerKind(
        _hyperband,
        {
            "min_resource": Parameter("int", 1, 1, help="evaluations before the first cut"),
            "reduction_factor": Parameter("int", 3, 2, help="one in so many goes on"),
        },
    ),
    "patient": PrunerKind(
        _patient,
        {
            "patience": Parameter("int", 2, 0, help="evaluations without gain that are forgiven"),
            "min_delta": Parameter("float", 0.0, 0.0, help="gain that counts"),
        },
    ),
    "threshold": PrunerKind(
        _threshold,
        {
            "lower": Parameter("float", None, help="prune below"),
            "upper": Parameter("float", None, help="prune above"),
            "n_warmup_steps": _WARMUP,
        },
    ),
    "none": PrunerKind(_none),
}


def build_pruner(name: str, arguments: Mapping[str, Any], evaluations: int) -> BasePruner:
    """The pruner; `evaluations` is how many a whole trial has (Hyperband plans with it)."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PRUNERS[name].build(evaluations, **arguments)
