"""Optimizers and schedulers of the user's own, as options of a space.

`space.optimizer.lion: {_target_: pytorch_optimizer.Lion, lr: {...}, betas: [0.9, 0.99]}`: the key
names the option, a value that is no domain is fixed. An argument with `duration: true` is a
duration, which the callable is given in steps.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from typing import Any

from lrsearch.errors import LrsearchError
from lrsearch.optimizers import OPTIMIZERS, merged_parameters
from lrsearch.optimizers.build import check_class
from lrsearch.parameters.parameter import Parameter
from lrsearch.recipe import COMMON
from lrsearch.registry import TARGET, Component, Registry, component_from
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.space.names import GROUPS, OWNERS, ParameterName
from lrsearch.space.parse_domain import RANGE_KEYS, type_of_numbers

BRANCHES: dict[str, Registry[Component]] = {"optimizer": OPTIMIZERS, "scheduler": SCHEDULERS}
_RESERVED = (*COMMON, *BRANCHES, *OWNERS, GROUPS, "only")
"""Names that mean something else in a space."""
DURATION = "duration"
"""The key, in the node of a scheduler's argument, that says that it is a duration."""
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def is_own(node: Any) -> bool:
    """Whether an option is the user's own code."""
    return isinstance(node, Mapping) and node.get(TARGET) is not None


def problem_of_name(option: str) -> str | None:
    """Why an option of the user's own cannot have this name, which begins stored names.

    Stored names of powers of two begin with `log2_`.
    """
    for registry in BRANCHES.values():
        if option in registry:
            return f"{option} names one of lrsearch's {registry.noun}s: give yours another name"
    if option in _RESERVED or ParameterName.parse(option).is_log2:
        return f"{option} means something else in a space: give yours another name"
    if not _WORD.fullmatch(option):
        return f"{option!r} is not a name: use letters, digits and _, a letter first"
    return None


def is_duration(node: Any) -> bool:
    """Whether the node of an argument says that it is a duration."""
    return isinstance(node, Mapping) and node.get(DURATION) is True


def resolve_own(space: dict[str, Any], problems: list[str]) -> dict[str, Component]:
    """Import the user's optimizers and schedulers and check what they are given, by option.

    What their signatures say is written into `space`, in place, so that it can be read without
    them: the types of ranges, lists that are one value, and shared parameters of optimizers that
    they take.
    """
    found: dict[str, Component] = {}
    for branch, registry in BRANCHES.items():
        for option, node in _chosen(space.get(branch)).items():
            path = f"space.{branch}.{option}"
            if not isinstance(node[TARGET], str) or problem_of_name(option) is not None:
                continue  # the parser says so
            shared = _shared(space) if branch == "optimizer" else {}
            names = [key for key, value in node.items() if key not in COMMON and value is not None]
            names.remove(TARGET)
            try:
                component = component_from(
                    node[TARGET],
                    option,
                    path,
                    names,
                    registry.leading,
                    [*registry.offered, *shared],
                )
                if branch == "optimizer":
                    check_class(component, path)
            except LrsearchError as error:
                problems.extend(str(error).splitlines() if _is_plain(error) else [str(error)])
                continue
            problems.extend(_ambiguous(component, node, path, registry.offered))
            for name in shared.keys() & component.parameters.keys() - node.keys():
                node[name] = copy.deepcopy(shared[name])
            for name, argument in node.items():
                if name in component.parameters and name not in COMMON:
                    node[name] = _explicit(argument, component.parameters[name])
            found[option] = component
    if not problems:
        _drop_untaken(space, found, problems)
    return found


def _is_plain(error: LrsearchError) -> bool:
    return "Traceback" not in str(error)


def _chosen(branch: Any) -> dict[str, dict[str, Any]]:
    """The nodes of the options of the user's own that are searched."""
    if not isinstance(branch, Mapping):
        return {}
    only = branch.get("only")
    only = [only] if isinstance(only, str) else only
    return {
        str(option): node
        for option, node in branch.items()
        if isinstance(node, dict)
        and is_own(node)
        and (not isinstance(only, list) or option in only)
    }


def _shared(space: Mapping[str, Any]) -> dict[str, Any]:
    """The domains that optimizers share, besides what every recipe has."""
    left_out = (*COMMON, *BRANCHES, *OWNERS)
    return {
        str(name): node
        for name, node in space.items()
        if node is not None and str(name).partition(".")[0] not in left_out
    }


def _ambiguous(
    component: Component, node: Mapping[str, Any], path: str, offered: Collection[str]
) -> list[str]:
    """Arguments that are named like something of lrsearch's own."""
    return [
        f"{path}.{name}: {component.path} has an argument of this name, and so has lrsearch: name "
        f"a function of yours that calls it by another name"
        for name in node
        if name in COMMON and name in component.parameters and name not in offered
    ]


def _explicit(node: Any, parameter: Parameter) -> Any:
    """The node of an argument such that it reads the same without the signature."""
    if isinstance(node, list) and parameter.kind == "list":
        return {"value": node}
    is_range = isinstance(node, Mapping) and {"low", "high"} <= node.keys() & set(RANGE_KEYS)
    if not is_range or node.get("type") is not None or is_duration(node):
        return node
    if parameter.kind in ("int", "float") and parameter.kind != type_of_numbers(node):
        return {**node, "type": parameter.kind}
    return node


def _drop_untaken(space: dict[str, Any], own: Mapping[str, Component], problems: list[str]) -> None:
    """Take out shared parameters that only optimizers of the user's own take: they have them.

    One of the catalogue's that no optimizer takes, perhaps from the default space, is a problem.
    """
    branch = space.get("optimizer")
    if not isinstance(branch, Mapping):
        return
    only = branch.get("only") or [key for key in branch if key != "only"]
    names = [only] if isinstance(only, str) else map(str, only)
    taken = {
        name for option in names if option in OPTIMIZERS for name in OPTIMIZERS[option].parameters
    }
    every = merged_parameters(component.parameters for component in OPTIMIZERS.values())
    for name in _shared(space):
        if name not in taken and any(name in component.parameters for component in own.values()):
            del space[name]
        elif own and name in every and name not in taken:
            problems.append(
                f"space.{name}: no optimizer of this space takes it: leave it out, with "
                f"space.{name}=null where the default space has it"
            )
            del space[name]
