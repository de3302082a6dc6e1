"""Apply group rules to a model: which parameters are trained, and in which parameter group.

Exported scripts contain copies of these functions, which therefore use nothing but torch's modules.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError
from lrsearch.text.hints import closest

if TYPE_CHECKING:
    from torch import nn

    from lrsearch.optimizers.group_rules import GroupRule

_SHOWN = 8


def freeze(model: nn.Module, match: str) -> None:
    """Freeze all parameters that have a name in which the regular expression `match` is found.

    A batch normalisation whose parameters are all frozen keeps its running statistics: it stays in
    evaluation mode even after `model.train()`.
    """
    frozen = set()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if re.search(match, name):
            parameter.requires_grad_(False)
            frozen.add(parameter)
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if getattr(module, "running_mean", None) is None:
            continue
        if frozen.issuperset(own) if own else re.search(match, f"{name}.running_mean"):
            module.eval()
            setattr(module, "train", functools.partial(as_it_is, module))  # noqa: B010


def as_it_is(module: nn.Module, mode: bool = True) -> nn.Module:
    """Return the module with its mode unchanged; replaces its method `train`."""
    return module


def parameter_groups(
    model: nn.Module, rules: Sequence[GroupRule], lr: float
) -> list[dict[str, Any]]:
    """The parameter groups of a model, at the peak rate `lr` of the schedule.

    A group has its `name`, its `lr`, the `lr_factor` (its rate divided by `lr`), the names of its
    parameters (`param_names`), and arguments of the optimizer. The first group, `default`, has the
    parameters that no rule matches. It exists even if it is empty, since the schedule sets its
    rate.
    """
    groups: dict[str, dict[str, Any]] = {"default": {"lr_factor": 1.0}}
    members: dict[str, list[tuple[str, nn.Parameter]]] = {"default": []}
    taken = [(rule, levels(model, rule)) for rule in rules]
    for parameter, names in trainable(model).items():
        labels: list[str] = []
        factor = 1.0
        arguments: dict[str, Any] = {}
        for rule, level in rules_of(names, taken):
            labels.append(f"{rule.name}_{level}" if rule.use == "layer_decay" else rule.name)
            factor *= rule.arguments.get("lr_factor", rule.arguments.get("decay", 1.0)) ** level
            own = {k: v for k, v in rule.arguments.items() if k not in ("lr_factor", "decay")}
            arguments = {**own, **arguments}
        name = "+".join(labels) or "default"
        groups.setdefault(name, {"lr_factor": factor, **arguments})
        members.setdefault(name, []).append((names[0], parameter))
    return [
        {
            "name": name,
            "params": [parameter for _, parameter in members[name]],
            "param_names": [own_name for own_name, _ in members[name]],
            "lr": lr * group["lr_factor"],
            **group,
        }
        for name, group in groups.items()
    ]


def trainable(model: nn.Module) -> dict[nn.Parameter, list[str]]:
    """The parameters that are trained, in order, with their names; a tied parameter has several."""
    names_of: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            names_of.setdefault(parameter, []).append(name)
    return names_of


def rules_of(
    names: Sequence[str], taken: Sequence[tuple[GroupRule, dict[str, int]]]
) -> list[tuple[GroupRule, int]]:
    """The rules of a parameter with these names, each with its level, in the order of the rules.

    `taken` has all rules and their `levels`. Only the first rule that matches one of the names
    counts, except that `no_decay` and `layer_decay` are added to it.
    """
    applied: list[tuple[GroupRule, int]] = []
    is_placed = False
    for rule, level_of in taken:
        level = max(level_of.get(name, 0) for name in names)
        places = rule.use not in ("no_decay", "layer_decay")
        if level and not (places and is_placed):
            applied.append((rule, level))
            is_placed = is_placed or places
    return applied


def levels(model: nn.Module, rule: GroupRule) -> dict[str, int]:
    """The level of each parameter name that a rule matches: 1, or the depth for `layer_decay`."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if rule.use == "layer_decay":
        return block_depths([name for name, _ in model.named_parameters()])
    matched = {name: 1 for name in names if rule.match and re.search(rule.match, name)}
    if rule.use == "no_decay":
        return matched | dict.fromkeys(undecayed(model), 1)
    if rule.use == "head" and rule.match is None:
        return dict.fromkeys(head_names(model), 1)
    return matched


def head_names(model: nn.Module) -> list[str]:
    """Names of the parameters of the head: of the last module that has any."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    last = names[-1].rpartition(".")[0]
    return [name for name in names if name.rpartition(".")[0] == last]


def undecayed(model: nn.Module) -> list[str]:
    """The names of all biases, parameters of norms, and parameters with at most one dimension.

    A norm is a module whose class, or one of its base classes, has a name that ends like those of
    torch's norms: `LayerNorm`, `BatchNorm2d`, `MyNorm`.
    """
    matched = []
    for path, module in model.named_modules(remove_duplicate=False):
        is_norm = any(re.search(r"Norm(\dd)?$", cls.__name__) for cls in type(module).__mro__)
        for name, parameter in module.named_parameters(recurse=False):
            if is_norm or parameter.ndim <= 1 or name == "bias":
                matched.append(f"{path}.{name}" if path else name)
    return matched


def block_depths(names: Sequence[str]) -> dict[str, int]:
    """The number of blocks between each parameter and the head, without parameters of the head.

    The name of a block ends with the first number: `encoder.layers.3`. Parameters before the first
    block (embeddings, a stem) are one block below all others, those after the last block are the
    head; without such parameters the last block is the head. Parameters in between belong to the
    block before them. Without any number each module with parameters is a block. Like the layer
    decay of BEiT (Bao, Dong, Piao, Wei 2022, arXiv 2106.08254).
    """
    matches = [re.match(r"(?:[^.]*\.)*?\d+(?=\.)", name) for name in names]
    blocks = [None if match is None else match[0] for match in matches]
    if not any(blocks):
        blocks = [name.rpartition(".")[0] for name in names]
    last = max(index for index, block in enumerate(blocks) if block is not None)
    heights: dict[str | None, int] = {}
    height_of: dict[str, int] = {}
    for index, (name, block) in enumerate(zip(names, blocks, strict=True)):
        if block is None and index < last:
            block = next(reversed(heights), None)
        elif block is None:
            block = "the head"
        height_of[name] = heights.setdefault(block, len(heights))
    top = len(heights) - 1
    return {name: top - height for name, height in height_of.items() if height < top}


def check_rules(model: nn.Module, rules: Sequence[GroupRule]) -> None:
    """Raise UserError for rules that apply to none of the model's trained parameters."""
    names_of = trainable(model)
    taken = [(rule, levels(model, rule)) for rule in rules]
    used = {rule.name for names in names_of.values() for rule, _ in rules_of(names, taken)}
    problems = []
    for rule, level_of in taken:
        if rule.name in used:
            continue
        some = [names for names in names_of.values() if any(name in level_of for name in names)]
        what = "" if rule.match is None else f" (match: {rule.match})"
        if some:
            other = rules_of(some[0], taken)[0][0].name
            why = f"takes {some[0][0]}, which {other} takes before it: put it first"
        elif level_of:
            why = f"takes frozen parameters alone, such as {next(iter(level_of))}"
        elif rule.match is None:
            why = f"takes nothing: {_described(model)}"
        else:
            why = f"matches nothing: {_advice(rule.match, model)}"
        problems.append(f"train.groups: {rule.name}{what} {why}")
    if problems:
        raise UserError("\n".join(problems))


def check_freeze(model: nn.Module, match: str) -> None:
    """Raise UserError for a regular expression that freezes no parameter, or all of them."""
    names_of = trainable(model)
    frozen = [names for names in names_of.values() if any(re.search(match, n) for n in names)]
    if len(frozen) == len(names_of):
        raise UserError(
            f"train.freeze: {match!r} freezes everything: nothing would train; {_described(model)}"
        )
    if not frozen and not any(re.search(match, name) for name, _ in model.named_parameters()):
        raise UserError(f"train.freeze: {match!r} matches nothing: {_advice(match, model)}")


def tied(model: nn.Module) -> list[str]:
    """A line for each tied parameter, which has several names."""
    return [
        f"{', '.join(names[1:])}: tied to {names[0]}"
        for names in trainable(model).values()
        if len(names) > 1
    ]


def _advice(match: str, model: nn.Module) -> str:
    """The names of the model's parameters, and the one that is closest to `match`."""
    plain = re.sub(r"\\(.)|[\^$]", lambda escaped: escaped[1] or "", match)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    modules = [name for name, _ in model.named_modules() if name]
    return f"{_described(model)}{closest(plain, [*names, *modules])}"


def _described(model: nn.Module) -> str:
    """The names of a model's parameters: `Net has body.weight, body.bias, ... (12 parameters)`."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    half = _SHOWN // 2
    shown = names if len(names) <= _SHOWN else [*names[:half], "...", *names[-half:]]
    return f"{type(model).__name__} has {', '.join(shown)} ({len(names)} parameters)"
