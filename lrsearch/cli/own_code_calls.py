"""Calls of the user's own code, with their arguments, as text for the screen."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lrsearch.data.spec import DataInfo, DataSpec
from lrsearch.models import model_arguments, model_class
from lrsearch.objectives import COMMAND, is_command
from lrsearch.objectives.command_line import CommandLine
from lrsearch.objectives.own_length import progress_words
from lrsearch.own_code import Signature, load_target
from lrsearch.recipe import COMMON
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.settings import Settings
from lrsearch.space.domains import Fixed
from lrsearch.space.names import ParameterName


def own_code_calls(settings: Settings, info: DataInfo | None) -> list[str]:
    """Return a line for each function or class of the user's, with the arguments of its call."""
    if settings.objective is not None:
        own = settings.objective
        words = command_words(own) if is_command(own) else _objective(own)
        return [
            f"objective: {words}",
            progress_words(settings.train),
            *_evaluation_counts(settings),
            *(_not_given(settings, own) if is_command(own) else []),
        ]
    lines = []
    if settings.data.target is not None:
        searched = _searched(settings, "data")
        call = _call(settings.data.target, settings.data.arguments, searched=searched)
        lines.append(f"data: {call}{_augmentation(settings.data)}")
    if settings.model.own and info is not None:
        cls = model_class(settings.model)
        arguments = model_arguments(cls, settings.model.arguments, info)
        call = _call(settings.model.name, arguments, searched=_searched(settings, "model"))
        lines.append(f"model: {call}")
    train = settings.train
    measures = {} if train.loss is None else {"loss": train.loss}
    measures |= {f"metric {name}": target for name, target in (train.metrics or {}).items()}
    lines += [
        f"{what}: {_call(target.name, target.arguments, ['outputs', 'targets'])}"
        for what, target in measures.items()
        if target.own
    ]
    functions = {
        "loss_step": (train.loss_step, ["model", "batch"]),
        "evaluate": (train.evaluate, ["model", "batches"]),
        "collate_fn": (settings.data.loader.collate_fn, ["items"]),
    }
    lines += [
        f"{what}: {_call(target.name, target.arguments, offered)}"
        for what, (target, offered) in functions.items()
        if target is not None
    ]
    return lines


def _evaluation_counts(settings: Settings) -> list[str]:
    """Return a line if a scheduler counts in evaluations and nothing says how many there are."""
    counting = [
        name
        for name in settings.space.scheduler
        if name in SCHEDULERS and "monitor" in SCHEDULERS[name].parameters
    ]
    if settings.train.steps is None or not counting:
        return []
    return [
        f"{', '.join(counting)}: counts in evaluations, and train.steps does not say how many "
        f"there are: build with length=Length.of(steps=..., eval_every=...), or leave it out of "
        f"space.scheduler.only"
    ]


def _not_given(settings: Settings, objective: ComponentConfig) -> list[str]:
    """Return a line if a command with values of the recipe leaves out some that are searched.

    A command without any, or with the file of the recipe, belongs to a script that reads them all.
    """
    line = CommandLine.parse(objective.arguments[COMMAND], COMMAND, [])
    if not line.gives_recipe or "recipe_file" in line.names:
        return []
    space = settings.space
    given = {ParameterName.parse(name).argument for name in line.names}
    branches = {"optimizer": space.optimizer, "scheduler": space.scheduler}
    domains = {**space.shared}
    left_out = []
    for branch, options in branches.items():
        if len(options) > 1 and branch not in given:
            left_out.append(branch)  # it stands for all of its parameters
        else:
            owned = {
                f"{option}.{key}": own for option in options for key, own in options[option].items()
            }
            domains |= owned
    reached = [*COMMON] if "optimizer" in left_out else space.names()
    left_out += [
        name
        for name, domain in domains.items()
        if not isinstance(domain, Fixed)
        and ParameterName.parse(name).argument not in given
        and ("." in name or name in reached)
    ]
    if not left_out:
        return []
    return [
        f"WARNING: searched, but not in the command: {', '.join(left_out)}. If the script does not "
        f"call lrsearch.current_trial(), it does not get them: put them into the command, as in "
        f'"{{{next(iter(left_out))}}}", or do not search them (space=bare searches only what the '
        f"sweep names)"
    ]


def command_words(objective: ComponentConfig) -> str:
    """The command line of a script, as it is configured."""
    command = objective.arguments[COMMAND]
    return command if isinstance(command, str) else shlex.join(map(str, command))


def _objective(objective: ComponentConfig) -> str:
    from lrsearch.objectives.function import OFFERED, takes_report

    function = load_target(objective.name, "objective")
    named = Signature.of(function).named
    offered = [name for name in OFFERED if name in named and name not in objective.arguments]
    leading = ["recipe", "report"] if takes_report(function, objective.arguments) else ["trial"]
    return _call(objective.name, objective.arguments, [*leading, *offered])


def _call(
    dotted: str,
    arguments: Mapping[str, Any],
    offered: Sequence[str] = (),
    searched: Collection[str] = (),
) -> str:
    """Return a call in Python's notation; `offered` are the arguments that lrsearch passes."""
    words = [f"{key}={value!r}" for key, value in arguments.items() if key not in searched]
    return f"{dotted}({', '.join([*offered, *words, *(f'{key}=<searched>' for key in searched)])})"


def _searched(settings: Settings, owner: str) -> Collection[str]:
    """Return the names of the searched arguments of the user's function."""
    searched = dict.fromkeys(settings.space.tuned(owner), 0)
    # One that is lrsearch's own, such as `crop`, is not passed to the function.
    if owner == "data":
        of_function = settings.data.with_arguments(searched).arguments
        return [name for name in searched if name in of_function]
    return list(searched)


def _augmentation(spec: DataSpec) -> str:
    words = [f"crop={spec.crop}"] if spec.crop else []
    words += ["flip=true"] if spec.flip else []
    return f"; lrsearch's loop: {', '.join(words)}" if words else ""
