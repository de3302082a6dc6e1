"""Rules applied to a model: which of its parameters train, and in which group of the optimizer.

Only the methods of torch's modules are used; exported scripts contain these functions.
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
    """Keep parameters from training: those in one of whose names `match` is found.

    A batch normalisation that is frozen whole keeps its running statistics, too: it stays in
    evaluation mode, whatever `model.train()` says.
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
    """Stand in for `module.train`, and leave the mode unchanged."""
    return module


def parameter_groups(
    model: nn.Module, rules: Sequence[GroupRule], lr: float
) -> list[dict[str, Any]]:
    """The groups of the optimizer, at the peak rate `lr` of the schedule.

    A group has its `name`, its `lr`, the `lr_factor` that led to it, and the names of its
    parameters (`param_names`). The first one is `default`: parameters that no rule takes. It is
    there even if it is empty, because its rate is that of the schedule.
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
    """The parameters that train, in order, each with its names: a tied one has several."""
    found: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            found.setdefault(parameter, []).append(name)
    return found


def rules_of(
    names: Sequence[str], taken: Sequence[tuple[GroupRule, dict[str, int]]]
) -> list[tuple[GroupRule, int]]:
    """The rules of a parameter with their levels, in the order of the rules.

    Of the rules that place parameters the first one that takes any of its names counts; `no_decay`
    and `layer_decay` come on top of it.
    """
    found: list[tuple[GroupRule, int]] = []
    is_placed = False
    for rule, level_of in taken:
        level = max(level_of.get(name, 0) for name in names)
        places = rule.use not in ("no_decay", "layer_decay")
        if level and not (places and is_placed):
            found.append((rule, level))
            is_placed = is_placed or places
    return found


def levels(model: nn.Module, rule: GroupRule) -> dict[str, int]:
    """The names of parameters that a rule takes: 1, or for `layer_decay` the depth of the block."""
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
    """Names of biases, of parameters of norms, and of all with at most one dimension.

    A norm is a module of a class, or of a subclass of one, whose name ends as torch's norms do:
    `LayerNorm`, `BatchNorm2d`, `MyNorm`.
    """
    found = []
    for path, module in model.named_modules(remove_duplicate=False):
        is_norm = any(re.search(r"Norm(\dd)?$", cls.__name__) for cls in type(module).__mro__)
        for name, parameter in module.named_parameters(recurse=False):
            if is_norm or parameter.ndim <= 1 or name == "bias":
                found.append(f"{path}.{name}" if path else name)
    return found


def block_depths(names: Sequence[str]) -> dict[str, int]:
    """How many blocks below the head a parameter is, by its name; without those of the head.

    A block is named up to the first number: `encoder.layers.3`. What stands before the first one
    is one block below all others (embeddings, a stem), what stands after the last one the head;
    without such parameters the last block is. Parameters in between count to the block before.
    Without any number each module with parameters is a block. Like BEiT's layer decay (Bao, Dong,
    Piao, Wei 2022, arXiv 2106.08254).
    """
    found = [re.match(r"(?:[^.]*\.)*?\d+(?=\.)", name) for name in names]
    blocks = [None if match is None else match[0] for match in found]
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
    """Raise UserError for a rule that takes none of the model's parameters."""
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
    """Raise UserError where a pattern freezes nothing, or all there is to train."""
    names_of = trainable(model)
    frozen = [names for names in names_of.values() if any(re.search(match, n) for n in names)]
    if len(frozen) == len(names_of):
        raise UserError(
            f"train.freeze: {match!r} freezes everything: nothing would train; {_described(model)}"
        )
    if not frozen and not any(re.search(match, name) for name, _ in model.named_parameters()):
        raise UserError(f"train.freeze: {match!r} matches nothing: {_advice(match, model)}")


def tied(model: nn.Module) -> list[str]:
    """A line for each parameter that has several names."""
    return [
        f"{', '.join(names[1:])}: tied to {names[0]}"
        for names in trainable(model).values()
        if len(names) > 1
    ]


def _advice(match: str, model: nn.Module) -> str:
    plain = re.sub(r"\\(.)|[\^$]", lambda found: found[1] or "", match)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    modules = [name for name, _ in model.named_modules() if name]
    return f"{_described(model)}{closest(plain, [*names, *modules])}"


def _described(model: nn.Module) -> str:
    """`Net has body.weight, body.bias, ... (12 parameters)`."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    half = _SHOWN // 2
    shown = names if len(names) <= _SHOWN else [*names[:half], "...", *names[-half:]]
    return f"{type(model).__name__} has {', '.join(shown)} ({len(names)} parameters)"
