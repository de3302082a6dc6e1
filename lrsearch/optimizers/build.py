"""Build the optimizer of a recipe, and check optimizers of the user's own.

An optimizer of the user's own is a subclass of torch.optim.Optimizer or a function that returns
one. It is called with the parameter groups, `lr`, and the arguments of the recipe.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError
from lrsearch.optimizers import call_of, is_fused
from lrsearch.optimizers.modes import set_mode
from lrsearch.optimizers.parameter_groups import parameter_groups
from lrsearch.own_code import Signature, call_own, load_target
from lrsearch.registry import Component, ComponentConfig
from lrsearch.text.hints import unknown

if TYPE_CHECKING:
    import torch

    from lrsearch.optimizers.group_rules import GroupRule

GIVEN = "lr"
"""The argument that lrsearch itself gives by name."""


def check_class(component: Component, path: str) -> None:
    """Raise UserError, beginning with `path`, if a user's optimizer cannot be used.

    It must take `lr`, and its class must not need a closure. For a function that returns an
    optimizer the class is checked when the optimizer is built.
    """
    function = component.load()
    signature = Signature.of(function)
    if GIVEN not in signature.named and not signature.is_open:
        raise UserError(
            f"{path}: {component.path} does not take {GIVEN}, the rate that is searched: name a "
            f"function of yours that takes it"
        )
    if problem := _closure_problem(function):
        raise UserError(f"{path}: {component.path} {problem}")


def build_optimizer(config: ComponentConfig, groups: list[Any], lr: float) -> torch.optim.Optimizer:
    """Build an optimizer over parameters, or parameter groups, with peak rate `lr`.

    One of the catalogue's is fused where all parameters are floating-point numbers on CUDA.
    Raises UserError where user code cannot be imported, or makes no optimizer that can be used.
    """
    import torch

    given = [_without_names(one) for one in groups]
    path, arguments = call_of(config, lr)
    function = load_target(path, "optimizer")
    if config.target is None:
        if (device := _device_type(given)) is not None and is_fused(config, device):
            arguments["fused"] = True
        built: torch.optim.Optimizer = function(given, **arguments)
        return built
    optimizer = call_own(function, path, given, **arguments)
    if not isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        raise UserError(f"optimizer: {path} must return a torch.optim.Optimizer, not {kind}")
    if problem := _closure_problem(type(optimizer)):
        raise UserError(f"optimizer: {path} {problem}")
    return optimizer


def check_optimizer(
    config: ComponentConfig,
    lr: float,
    rules: Sequence[GroupRule] = (),
    elsewhere: Collection[str] = (),
) -> None:
    """Build an optimizer of the user's own over a small model and take a step with it.

    What `rules` give to parameter groups must be among its `defaults`, which are what torch lets
    differ between groups, or in `elsewhere`: what other optimizers of the space take. Raises
    UserError if it cannot be used, and OwnCodeError with the traceback if it raises.
    """
    import torch

    model = torch.nn.Linear(2, 2)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = build_optimizer(config, parameter_groups(model, (), lr), lr)
    defaults = [name for name in optimizer.defaults if name != GIVEN]
    problems = [
        f"train.groups.{rule.name}.{name}: {config.target} has no {name} for a parameter group: "
        f"{unknown(name, [*rule.kind.parameters, *defaults])}"
        for rule in rules
        for name in rule.arguments
        if name not in (*rule.kind.parameters, *defaults, *elsewhere)
    ]
    if problems:
        raise UserError("\n".join(problems))
    set_mode(model, optimizer, train=True)
    call_own(optimizer.step, f"the step of {config.target}")


def _without_names(group: Any) -> Any:
    """A parameter group without `param_names`, which torch accepts in all groups or in none."""
    if not isinstance(group, dict):
        return group
    return {key: value for key, value in group.items() if key != "param_names"}


def _device_type(groups: list[Any]) -> str | None:
    """The type of the device of all parameters, if it is one and they are floating-point."""
    given = [group["params"] if isinstance(group, dict) else [group] for group in groups]
    parameters = [parameter for members in given for parameter in members]
    types = {
        parameter.device.type if parameter.is_floating_point() else None for parameter in parameters
    }
    return types.pop() if len(types) == 1 else None


def _closure_problem(cls: Any) -> str | None:
    """Why an optimizer class cannot be used without a closure; None if it can."""
    step = getattr(cls, "step", None) if inspect.isclass(cls) else None
    if step is None:
        return None
    try:
        parameters = list(inspect.signature(step).parameters.values())[1:]
    except (TypeError, ValueError):
        return None
    if not any(
        parameter.name == "closure" and parameter.default is parameter.empty
        for parameter in parameters
    ):
        return None
    return (
        "needs a closure: its step() computes the loss several times per batch, and lrsearch's "
        "training computes it once; use an optimizer whose step() can be called without one"
    )
