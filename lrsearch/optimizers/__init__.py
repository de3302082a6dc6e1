"""The optimizers. To add one: an entry here."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lrsearch.optimizers.muon_groups import muon_groups, muon_notes
from lrsearch.parameters.parameter import FREE, Parameter
from lrsearch.registry import Component, ComponentConfig, Registry

_MOMENTUM = Parameter("float", 0.0, 0.0, 0.9999, help="momentum")
_DECAY = Parameter("float", 0.0, 0.0, help="weight decay")
_EPS = Parameter("float", 1e-8, 0.0, help="added to the denominator")
_BETAS = Parameter("betas", (0.9, 0.999), help="running averages of gradient and square")
_ADAM = {"betas": _BETAS, "eps": _EPS, "weight_decay": _DECAY}


def _as_given(arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


def _sgd(arguments: dict[str, Any]) -> dict[str, Any]:
    # torch refuses Nesterov's momentum where there is no momentum.
    return arguments | {"nesterov": arguments["nesterov"] and arguments["momentum"] > 0}


@dataclass(frozen=True)
class Optimizer(Component):
    """An optimizer class. Its parameters are the arguments besides `lr`, which a recipe gives."""

    fit: Callable[[dict[str, Any]], dict[str, Any]] = _as_given
    """Changes the arguments so that the class takes them."""
    fused_since: tuple[int, int] | None = None
    """The version of torch from which its fused implementation runs on CUDA; None without one."""
    divide: Callable[..., list[dict[str, Any]]] | None = None
    """Makes finer parameter groups: called with the model, the groups, and the arguments named in
    `dividing`. An optimizer that has it cannot be built without the model."""
    dividing: tuple[str, ...] = ()
    """Arguments that `divide` gets by name, and the class does not get."""
    notes: Callable[..., list[str]] | None = None
    """What to say of the groups: called with the model and the groups."""


OPTIMIZERS = Registry(
    "optimizer",
    [
        Optimizer(
            "sgd",
            "torch.optim.SGD",
            {
                "momentum": _MOMENTUM,
                "nesterov": Parameter("bool", False, help="Nesterov's momentum"),
                "weight_decay": _DECAY,
            },
            "stochastic gradient descent, with momentum",
            fit=_sgd,
            fused_since=(2, 9),
        ),
        Optimizer(
            "adam",
            "torch.optim.Adam",
            _ADAM,
            "Adam, weight decay as an L2 penalty",
            fused_since=(2, 9),
        ),
        Optimizer(
            "adamw",
            "torch.optim.AdamW",
            _ADAM | {"weight_decay": Parameter("float", 0.01, 0.0, help="decoupled weight decay")},
            "Adam with decoupled weight decay",
            fused_since=(2, 9),
        ),
        Optimizer("nadam", "torch.optim.NAdam", _ADAM, "Adam with Nesterov's momentum"),
        Optimizer("radam", "torch.optim.RAdam", _ADAM, "rectified Adam"),
        Optimizer("adamax", "torch.optim.Adamax", _ADAM, "Adam with the infinity norm"),
        Optimizer(
            "rmsprop",
            "torch.optim.RMSprop",
            {
                "alpha": Parameter("float", 0.99, 0.0, 1.0, help="smoothing"),
                "eps": _EPS,
                "momentum": _MOMENTUM,
                "weight_decay": _DECAY,
            },
            "gradients over a running average of their size",
        ),
        Optimizer(
            "adagrad",
            "torch.optim.Adagrad",
            {
                "eps": Parameter("float", 1e-10, 0.0, help="added to the denominator"),
                "weight_decay": _DECAY,
            },
            "gradients over the root of the sum of their squares",
            fused_since=(2, 14),  # 2.9 has it on the CPU alone
        ),
        Optimizer(
            "adadelta",
            "torch.optim.Adadelta",
            {
                "rho": Parameter("float", 0.9, 0.0, 1.0, help="smoothing"),
                "eps": Parameter("float", 1e-6, 0.0, help="added to the denominator"),
                "weight_decay": _DECAY,
            },
            "gradients scaled by running averages of themselves and of the steps",
        ),
        Optimizer(
            "adafactor",
            "torch.optim.Adafactor",
            {
                "beta2_decay": Parameter(
                    "float", -0.8, high=0.0, help="after step t the average's beta2 is 1 - t ** it"
                ),
                "eps": Parameter(
                    "pair",
                    (None, 1e-3),
                    0.0,
                    help="smallest denominator (null: that of the number type), and smallest size "
                    "of a parameter in the step",
                ),
                "d": Parameter("float", 1.0, 1.0, help="clips the root mean square of an update"),
                "weight_decay": Parameter("float", 0.0, 0.0, help="decoupled weight decay"),
            },
            "squared gradients in a row and a column; steps in proportion to the parameters, with "
            "lr as the largest relative step",
        ),
        Optimizer(
            "muon",
            "lrsearch.optimizers.muon.MuonWithAdamW",
            {
                "adamw_factor": Parameter(
                    "float", 1.0, 0.0, open_low=True, help="rate of AdamW's groups over lr"
                ),
                "momentum": Parameter("float", 0.95, 0.0, 0.9999, help="Muon's momentum"),
                "nesterov": Parameter("bool", True, help="Nesterov's momentum, of Muon"),
                "ns_steps": Parameter("int", 5, 1, 99, help="Newton-Schulz iterations of Muon"),
                "weight_decay": Parameter("float", 0.1, 0.0, help="decoupled weight decay of both"),
                "betas": Parameter("betas", (0.9, 0.999), help="running averages of AdamW"),
                "eps": Parameter("float", 1e-8, 0.0, help="added to the denominator of AdamW"),
            },
            "torch's Muon for two-dimensional hidden weights, and AdamW for all others: "
            "embeddings, the head, norms, biases, convolutions",
            fused_since=(2, 9),
            divide=muon_groups,
            dividing=("adamw_factor",),
            notes=muon_notes,
        ),
    ],
    where="space.optimizer",
    leading=1,
    offered=("lr",),
)


def merged_parameters(optimizers: Iterable[Mapping[str, Parameter]]) -> dict[str, Parameter]:
    """The parameters of several optimizers, by name.

    One of which they take different values is free here: `problems_of` checks it.
    """
    merged: dict[str, Parameter] = {}
    for parameters in optimizers:
        for key, parameter in parameters.items():
            known = merged.setdefault(key, parameter)
            if not known.admits_as(parameter):
                merged[key] = FREE
    return merged


def problems_of(
    argument: str, values: Iterable[Any], optimizers: Mapping[str, Mapping[str, Parameter]]
) -> list[str]:
    """Check values of an argument with each optimizer; return the first problem of each."""
    values = list(values)
    problems = []
    for name, parameters in optimizers.items():
        parameter = parameters.get(argument, FREE)
        wrong = (problem for value in values if (problem := parameter.problem(value)))
        problems += [f"{name}: {problem}" for problem in wrong][:1]
    return problems


def call_of(config: ComponentConfig, lr: float) -> tuple[str, dict[str, Any]]:
    """The dotted path and the arguments of the optimizer class of a recipe with peak rate `lr`."""
    if config.target is not None:
        return config.target, {"lr": lr, **config.arguments}
    component = OPTIMIZERS[config.name]
    arguments = component.complete(config.arguments)
    given = {key: value for key, value in arguments.items() if key not in component.dividing}
    return component.path, {"lr": lr, **component.fit(given)}


def is_fused(config: ComponentConfig, device_type: str) -> bool:
    """Whether an optimizer uses torch's fused implementation on this type of device.

    On CUDA alone: on the CPU it would change the numbers. Optimizers of the user's own are called
    with what the user gives.
    """
    component = OPTIMIZERS.get(config.name) if config.target is None else None
    if component is None or component.fused_since is None or device_type != "cuda":
        return False
    major, minor = importlib.metadata.version("torch").split(".")[:2]
    return (int(major), int(minor)) >= component.fused_since


def group_notes(config: ComponentConfig, model: Any, groups: list[dict[str, Any]]) -> list[str]:
    """What to say of the parameter groups of an optimizer."""
    component = OPTIMIZERS.get(config.name) if config.target is None else None
    return [] if component is None or component.notes is None else component.notes(model, groups)


def divide_call_of(
    config: ComponentConfig,
) -> tuple[Callable[..., list[dict[str, Any]]], dict[str, Any]] | None:
    """The function that makes finer parameter groups, and its named arguments; mostly None."""
    component = OPTIMIZERS.get(config.name) if config.target is None else None
    if component is None or component.divide is None:
        return None
    arguments = component.complete(config.arguments)
    return component.divide, {key: arguments[key] for key in component.dividing}
