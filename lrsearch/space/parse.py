"""Reads a search space from plain mappings, collecting every problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lrsearch.optimizers import OPTIMIZERS, merged_parameters, problems_of
from lrsearch.optimizers.group_rules import SHIPPED, GroupRule
from lrsearch.parameters.parameter import FREE, Parameter
from lrsearch.recipe import COMMON
from lrsearch.registry import TARGET, Component, ComponentConfig, read_own
from lrsearch.space.domains import AUTO, Auto, Domain
from lrsearch.space.names import GROUPS, OWNERS, ParameterName
from lrsearch.space.own_options import BRANCHES, DURATION, is_duration, is_own, problem_of_name
from lrsearch.space.parse_domain import RANGE_KEYS, parse_domain
from lrsearch.space.space import Coupling, Space, give_each_its_own
from lrsearch.text.hints import as_given, unknown, word


def parse_space(
    plain: Mapping[str, Any],
    coupling: Coupling,
    problems: list[str],
    components: Mapping[str, Component] | None = None,
    groups: Sequence[GroupRule] = (),
    freeze: str | None = None,
) -> Space | None:
    """The space, or None when `problems` got any.

    `plain` has a domain a name, nested under `optimizer`, `scheduler`, `groups`, `model` and
    `data`. `components` are the user's own optimizers and schedulers, by option; without them the
    values of their arguments are not checked. `groups` and `freeze` say which parameters train how.
    """
    before = len(problems)
    own: dict[str, ComponentConfig] = {}
    optimizer = _parse_branch(plain, "optimizer", components or {}, own, problems)
    scheduler = _parse_branch(plain, "scheduler", components or {}, own, problems)
    shared_kinds = dict(COMMON)
    # The arguments of an unknown option are unknown, too: do not report further problems with them.
    is_known = optimizer and _are_known(plain["optimizer"])
    ours = [option for option in optimizer if option in OPTIMIZERS]
    resolved = own if components is None else components
    if not {*optimizer} <= {*ours, *resolved}:
        is_known = False
    catalogue = {option: OPTIMIZERS[option].parameters for option in ours}
    every = {option: component.parameters for option, component in OPTIMIZERS.items()}
    shared_kinds |= merged_parameters((catalogue if is_known else every).values())
    known = merged_parameters(every.values())
    # null takes away what the default space has, even for optimizers that do not take it.
    given = {k: node for k, node in plain.items() if node is not None or k not in known}
    shared = _parse_shared(given, shared_kinds, problems)
    for name, domain in shared.items():
        takers = {
            option: catalogue[option]
            for option in ours
            if name in catalogue[option] and name not in optimizer[option]
        }
        if takers:
            wrong = problems_of(name, domain.ends(), takers)
            problems += [f"space.{name}: {problem}" for problem in wrong]
    options = optimizer if is_known else OPTIMIZERS
    chosen = _group_arguments(options, own, components, groups, plain.get(GROUPS))
    shared |= _parse_groups(plain.get(GROUPS), groups, chosen, problems)
    for option, other in ((a, b) for a in optimizer for b in scheduler):
        for name in sorted(set(optimizer[option]) & set(scheduler[other]) & set(COMMON)):
            problems.append(
                f"space: both optimizer.{option} and scheduler.{other} have their own {name}: "
                f"give it to one of them"
            )
    _check_presence(shared, optimizer, scheduler, problems)
    _check_auto(shared, optimizer, problems)
    give_each_its_own(shared, optimizer)
    if len(problems) > before:
        return None
    return Space(shared, optimizer, scheduler, coupling, own, tuple(groups), freeze)


def settle_kinds(merged: dict[str, Any], layers: Sequence[Mapping[str, Any]]) -> None:
    """Drops, in place, what a later layer replaced: `choices` or `value` replace a range whole.

    `layers` are the mappings that were merged, the first one first. Merging mappings keeps the
    keys of all; here the last layer that names a kind of set decides.
    """
    for name, here in merged.items():
        if not isinstance(here, dict):
            continue
        nodes = [node for layer in layers if isinstance(node := layer.get(name), Mapping)]
        for node in reversed(nodes):
            kinds = {_kind(key) for key, value in node.items() if value is not None} - {None}
            if len(kinds) == 1:
                for key in [k for k in here if _kind(k) not in (None, *kinds)]:
                    del here[key]
                break
        settle_kinds(here, nodes)


def _kind(key: str) -> str | None:
    if key in RANGE_KEYS:
        return "range"
    return key if key in ("value", "choices") else None


def _are_known(optimizer: Mapping[str, Any]) -> bool:
    """Whether all that are named are known."""
    only = optimizer.get("only") or []
    named = [*optimizer, *(only if isinstance(only, list) else [only])]
    own = [name for name, node in optimizer.items() if is_own(node)]
    return all(word(name) in (*OPTIMIZERS, *own, "only") for name in named)


def _parse_branch(
    plain: Mapping[str, Any],
    branch: str,
    components: Mapping[str, Component],
    own: dict[str, ComponentConfig],
    problems: list[str],
) -> dict[str, dict[str, Domain]]:
    """The options of a branch; those of the user's own are added to `own`."""
    path, registry = f"space.{branch}", BRANCHES[branch]
    node = plain.get(branch) or {}
    if not isinstance(node, Mapping):
        problems.append(
            f"{path}: {as_given(node)} is not a mapping: write {path}.only=[{word(node)}]"
        )
        return {}
    options: dict[str, dict[str, Domain]] = {}
    for option, parameters in node.items():
        if option == "only":
            continue
        if is_own(parameters):
            if option in own:
                problems.append(f"{path}.{option}: an optimizer has this name: give another one")
            elif (found := _parse_own(path, option, parameters, components, problems)) is not None:
                own[option], options[option] = found
            continue
        if option not in registry:
            problems.append(f"{path}: {registry.unknown(option, 'only')}")
            continue
        if not isinstance(parameters or {}, Mapping):
            problems.append(
                f"{path}.{option}: {as_given(parameters)} is not a mapping of its parameters"
            )
            continue
        kinds = {**_COMMON_OF_OPTION, **registry[option].parameters}
        options[option] = _parse_domains(f"{path}.{option}", parameters or {}, kinds, problems)
    only = node.get("only")
    if only is None:
        only = list(options)
    elif isinstance(only, str):
        only = [only]
    elif not isinstance(only, list):
        problems.append(f"{path}.only: {as_given(only)} is not a list of {branch}s")
        only = []
    only = [word(option) for option in only]
    known = [*registry, *(str(name) for name, one in node.items() if is_own(one))]
    for option in only:
        if option not in known:
            problems.append(f"{path}.only: {unknown(option, known)}")
    if not only:
        problems.append(f"{path}: no {branch} is left (valid: {', '.join(known)})")
    return {option: options.get(option, {}) for option in only if option in known}


_COMMON_OF_OPTION = {name: one for name, one in COMMON.items() if name != "batch_size"}


def _parse_own(
    path: str,
    option: str,
    node: Mapping[str, Any],
    components: Mapping[str, Component],
    problems: list[str],
) -> tuple[ComponentConfig, dict[str, Domain]] | None:
    """An option of the user's own, and the domains of its arguments."""
    if problem := problem_of_name(option):
        problems.append(f"{path}: {problem}")
        return None
    config = read_own({TARGET: node[TARGET]}, f"{path}.{option}", problems)
    if config is None or config.target is None:
        return None
    of_signature = components[option].parameters if option in components else {}
    kinds: dict[str, Parameter] = {}
    nodes: dict[str, Any] = {}
    for name, argument in node.items():
        if name == TARGET:
            continue
        nodes[name] = argument
        kinds[name] = _COMMON_OF_OPTION.get(name, of_signature.get(name, FREE))
        marked = argument.get(DURATION) if isinstance(argument, Mapping) else None
        if marked is not None and not isinstance(marked, bool):
            problems.append(
                f"{path}.{option}.{name}.{DURATION}: {as_given(marked)} is not true or false"
            )
            nodes[name] = {key: value for key, value in argument.items() if key != DURATION}
        elif is_duration(argument) and "scheduler" in path and name not in COMMON:
            nodes[name] = {key: value for key, value in argument.items() if key != DURATION}
            kinds[name] = Parameter("duration", None)
    domains = _parse_domains(f"{path}.{option}", nodes, kinds, problems)
    durations = tuple(name for name in domains if is_duration(node[name]))
    return ComponentConfig(option, {}, config.target, durations), domains


def _parse_shared(
    plain: Mapping[str, Any], kinds: Mapping[str, Parameter], problems: list[str]
) -> dict[str, Domain]:
    top: dict[str, Any] = {}
    owned: dict[str, Any] = {}
    for name, node in plain.items():
        parsed = ParameterName.parse(str(name))
        if parsed.owner in OWNERS and not parsed.is_log2:
            owned[name] = node
        elif name in OWNERS and isinstance(node, Mapping):
            owned |= {str(ParameterName(str(key), name)): one for key, one in node.items()}
        elif name in OWNERS and node is not None:
            problems.append(
                f"space.{name}: {as_given(node)} is not a mapping of the {name}'s arguments"
            )
        elif name not in ("optimizer", "scheduler", GROUPS, *OWNERS):
            top[name] = node
    known = [*kinds, "optimizer", "scheduler", GROUPS, *OWNERS]
    shared = _parse_domains("space", top, kinds, problems, known)
    for name, node in owned.items():
        domain = parse_domain(f"space.{name}", node, FREE, problems)
        if domain is not None:
            shared[name] = domain
    return shared


def _group_arguments(
    options: Iterable[str],
    own: Mapping[str, ComponentConfig],
    components: Mapping[str, Component] | None,
    groups: Sequence[GroupRule],
    node: Any,
) -> dict[str, Mapping[str, Parameter]]:
    """The arguments that each optimizer of a space takes for a parameter group.

    Where one of the user's own is not imported, all arguments that rules name count as taken.
    """
    taken: dict[str, Mapping[str, Parameter]] = {}
    for option in options:
        if option not in own:
            taken[option] = OPTIMIZERS[option].parameters
        elif components is not None and option in components:
            known = components[option].parameters
            # The rate of a group is said by its lr_factor.
            taken[option] = {name: one for name, one in known.items() if name not in COMMON}
        else:
            searched = node.values() if isinstance(node, Mapping) else ()
            asked = [rule.arguments for rule in groups]
            asked += [inner for inner in searched if isinstance(inner, Mapping)]
            taken[option] = {name: FREE for arguments in asked for name in arguments}
    return taken


def _parse_groups(
    node: Any,
    groups: Sequence[GroupRule],
    optimizers: Mapping[str, Mapping[str, Parameter]],
    problems: list[str],
) -> dict[str, Domain]:
    """What is searched of parameter groups; `optimizers` are the arguments of each."""
    path = f"space.{GROUPS}"
    optimizer = merged_parameters(optimizers.values())
    rules = {rule.name: rule for rule in groups}
    found: dict[str, Domain] = {}
    for rule in groups:
        wrong = rule.problems(optimizer)
        for key, value in rule.arguments.items():
            if rule.parameters(optimizer).get(key) is FREE:
                wrong += [f"{key}: {problem}" for problem in problems_of(key, [value], optimizers)]
        problems += [f"train.groups.{rule.name}.{problem}" for problem in wrong]
    if not isinstance(node or {}, Mapping):
        problems.append(f"{path}: {as_given(node)} is not a mapping of the groups' rules")
        return {}
    for name, inner in (node or {}).items():
        if inner is None:
            continue
        if name not in rules:
            there = f"{path}.{name}: {unknown(name, rules) if rules else 'there is no such rule'}"
            entry = name if name in SHIPPED else f"{{name: {name}, match: ...}}"
            problems.append(f"{there}; to add it: train.groups=[{', '.join([*rules, entry])}]")
        elif not isinstance(inner, Mapping):
            problems.append(f"{path}.{name}: {as_given(inner)} is not a mapping of its arguments")
        else:
            kinds = rules[name].parameters(optimizer)
            domains = _parse_domains(f"{path}.{name}", inner, kinds, problems)
            for key in (key for key in domains if kinds[key] is FREE):
                wrong = problems_of(key, domains[key].ends(), optimizers)
                problems += [f"{path}.{name}.{key}: {problem}" for problem in wrong]
            found |= {f"{GROUPS}.{name}.{key}": domain for key, domain in domains.items()}
    return found


def _parse_domains(
    path: str,
    nodes: Mapping[str, Any],
    kinds: Mapping[str, Parameter],
    problems: list[str],
    known: Iterable[str] | None = None,
) -> dict[str, Domain]:
    domains: dict[str, Domain] = {}
    for name, node in nodes.items():
        if name not in kinds:
            problems.append(f"{path}: {unknown(name, known or kinds)}")
        elif (domain := parse_domain(f"{path}.{name}", node, kinds[name], problems)) is not None:
            domains[name] = domain
    return domains


def _check_auto(
    shared: Mapping[str, Domain],
    optimizer: Mapping[str, Mapping[str, Domain]],
    problems: list[str],
) -> None:
    """A shared rate that is to be found, but is no optimizer's: nothing would be tested."""
    own = {name: parameters.get("lr") for name, parameters in optimizer.items()}
    if (
        own
        and isinstance(shared.get("lr"), Auto)
        and not any(domain is None or isinstance(domain, Auto) for domain in own.values())
    ):
        keys = " ".join(f"space.optimizer.{name}.lr={AUTO}" for name in own)
        theirs = "has a rate of its own" if len(own) == 1 else "have rates of their own"
        problems.append(f"space.lr: {AUTO} finds nothing: {', '.join(own)} {theirs}; write {keys}")


def _check_presence(
    shared: Mapping[str, Domain],
    optimizer: Mapping[str, Mapping[str, Domain]],
    scheduler: Mapping[str, Mapping[str, Domain]],
    problems: list[str],
) -> None:
    if "batch_size" not in shared and not any("space.batch_size" in p for p in problems):
        problems.append("space.batch_size is missing: give a range, `choices` or a `value`")
    for branch in (optimizer, scheduler):
        if branch and all("lr" in parameters for parameters in branch.values()):
            return
    if "lr" not in shared and not any("lr" in problem for problem in problems):
        problems.append("space.lr is missing: give a range, `choices` or a `value`")
