"""The optimizers of the catalogue: classes of torch.optim and what can be tuned of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lrsearch.parameters import Parameter

_MOMENTUM = Parameter("float", 0.0, 0.0, 0.9999, help="momentum")
_DECAY = Parameter("float", 0.0, 0.0, help="weight decay")
_EPS = Parameter("float", 1e-8, 0.0, help="added to the denominator")
_BETAS = Parameter("betas", (0.9, 0.999), help="running averages of gradient and square")


def _as_given(arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


def _sgd(arguments: dict[str, Any]) -> dict[str, Any]:
    # torch refuses Nesterov's momentum where there is none to speak of.
    return arguments | {"nesterov": arguments["nesterov"] and arguments["momentum"] > 0}


@dataclass(frozen=True)
class OptimizerKind:
    """A class of torch.optim, its arguments besides `lr`, and how they are made fit for torch."""

    cls: str
    parameters: Mapping[str, Parameter]
    fit: Callable[[dict[str, Any]], dict[str, Any]] = _as_given


OPTIMIZERS: dict[str, OptimizerKind] = {
    "sgd": OptimizerKind(
        "SGD",
        {
            "momentum": _MOMENTUM,
            "nesterov": Parameter("bool", False, help="Nesterov's momentum"),
            "weight_decay": _DECAY,
        },
        fit=_sgd,
    ),
    "adam": OptimizerKind("Adam", {"betas": _BETAS, "eps": _EPS, "weight_decay": _DECAY}),
    "adamw": OptimizerKind(
        "AdamW",
        {"betas": _BETAS, "eps": _EPS, "weight_decay": Parameter("float", 0.01, 0.0)},
    ),
    "nadam": OptimizerKind("NAdam", {"betas": _BETAS, "eps": _EPS, "weight_decay": _DECAY}),
    "radam": OptimizerKind("RAdam", {"betas": _BETAS, "eps": _EPS, "weight_decay": _DECAY}),
    "adamax": OptimizerKind("Adamax", {"betas": _BETAS, "eps": _EPS, "weight_decay": _DECAY}),
    "rmsprop": OptimizerKind(
        "RMSprop",
        {
            "alpha": Parameter("float", 0.99, 0.0, 1.0, help="smoothing"),
            "eps": _EPS,
            "momentum": _MOMENTUM,
            "weight_decay": _DECAY,
        },
    ),
    "adagrad": OptimizerKind(
        "Adagrad", {"eps": Parameter("float", 1e-10, 0.0), "weight_decay": _DECAY}
    ),
    "adadelta": OptimizerKind(
        "Adadelta",
        {
            "rho": Parameter("float", 0.9, 0.0, 1.0, help="smoothing"),
            "eps": Parameter("float", 1e-6, 0.0),
            "weight_decay": _DECAY,
        },
    ),
}
