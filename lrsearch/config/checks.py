"""Checks across sections: a space against the metric, the plan, the data and the model."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from lrsearch.config.command import check_command
from lrsearch.config.metric import metric_names
from lrsearch.data.sources import SOURCES
from lrsearch.data.spec import DataSpec
from lrsearch.errors import LrsearchError, UserError
from lrsearch.loggers import LOGGERS
from lrsearch.models import MODELS
from lrsearch.parameters.durations import Duration, Unit
from lrsearch.registry import ComponentConfig, Registry
from lrsearch.settings import MetricSettings, StudySettings
from lrsearch.space.domains import Choices, Domain, Fixed
from lrsearch.space.space import Space
from lrsearch.text.hints import as_given, unknown
from lrsearch.training.settings import TrainSettings
from lrsearch.tuning.pruners import PRUNERS
from lrsearch.tuning.samplers import SAMPLERS, enumerates

MOST_CHOICES = 10_000
_AUGMENTATION = ("crop", "flip")
_OF_BUILTIN = (
    "amp", "channels_last", "checkpoint_every", "compile", "early_stopping", "ema", "eval_every",
    "evaluate", "loss", "loss_step", "metrics", "micro_batch",
)  # fmt: skip
"""Keys of `train` that a training loop of the user's own does not read."""


def check_together(sections: Mapping[str, Any], problems: list[str]) -> None:
    """Run the checks of every configuration. A section with problems of its own is None."""
    study, metric, train, space = (sections[key] for key in ("study", "metric", "train", "space"))
    own_loop = sections["objective"] is not None
    if space and space.to_find and own_loop:
        problems.append(
            f"space ({', '.join(space.to_find)}): `auto` takes a range test, for which lrsearch "
            f"trains by itself; for your own objective give a range, such as "
            f"{{low: 1e-4, high: 1.0, log: true}}"
        )
    if metric and train and not own_loop and _is_fine("train.metrics", problems):
        check_metric(metric, train, space, problems)
    if study and space and sections["sampler"]:
        check_plan(study, space, sections["sampler"], problems)
    if sections["data"]:
        check_folds(sections["data"], own_loop, problems)
    if space and sections["data"] and sections["model"] and not own_loop:
        check_tuned(space, sections["data"], sections["model"], problems)


def check_values(sections: Mapping[str, Any], problems: list[str]) -> None:
    """Run the checks of new configurations only: of values that are valid but useless."""
    check_own_code(sections, problems)
    if sections["objective"] is not None:
        check_command(sections["objective"], sections["space"], sections["metric"], problems)
    train, space, model = (sections[key] for key in ("train", "space", "model"))
    study = sections["study"]
    if study and train and study.needs.gpu_memory is not None and train.device == "cpu":
        problems.append(
            "study.needs.gpu_memory: with train.device=cpu no GPU is used: leave one of them out"
        )
    if space:
        check_choices(space, problems)
    if space and space.coupling.reference < 1:
        problems.append(f"coupling.reference: {space.coupling.reference} is below 1")
    if train is not None:
        own_loop = sections["objective"] is not None
        check_gpus(train, None if own_loop else space, problems)
    if sections["objective"] is not None:
        check_own_loop(train, problems)
        return
    if train is not None and space and _length_is_fine(problems):
        check_warmup(train, space, problems)
    if space and model and not model.own:
        check_model_values(space, model, problems)


def check_own_code(sections: Mapping[str, Any], problems: list[str]) -> None:
    """Import the user's own sampler, pruner and logger, and check their arguments."""
    registries: tuple[Registry[Any], ...] = (SAMPLERS, PRUNERS, LOGGERS)
    for registry in registries:
        config = sections[registry.noun]
        if config is not None and config.own:
            try:
                registry.component(config)
            except LrsearchError as error:
                problems.append(str(error))


def check_folds(data: DataSpec, own_loop: bool, problems: list[str]) -> None:
    """Check that folds are of lrsearch's own training, and that nothing else splits the data."""
    if data.folds is None:
        if data.target is not None and data.split_seed != DataSpec.split_seed:
            problems.append(
                f"data.split_seed: {data.split_seed} has no use for your own data, which you have "
                f"split, unless data.folds is given: leave it out"
            )
        return
    if own_loop:
        problems.append(
            "data.folds: it is for lrsearch's own training, and with `objective` your own loop "
            "has the data: train on the folds there, and leave this out"
        )
    if data.validation is not None:
        problems.append(
            f"data.validation: {data.validation:g} has no use with data.folds={data.folds}, where "
            f"each fold is the validation part in its turn: leave one of the two out"
        )


def check_own_loop(train: TrainSettings | None, problems: list[str]) -> None:
    """Check for options of lrsearch's own training beside the user's training loop."""
    default = TrainSettings()
    problems.extend(
        f"train.{key}: it is for lrsearch's own training, and with `objective` your own loop "
        f"trains: do it there, and leave this out"
        for key in _OF_BUILTIN
        if train is not None and getattr(train, key) != getattr(default, key)
    )


def check_warmup(train: TrainSettings, space: Space, problems: list[str]) -> None:
    """Check that a warm-up is shorter than the training, where both have the same unit."""
    unit: Unit = "ep" if train.steps is None else "st"
    length = Duration(train.epochs if train.steps is None else train.steps, unit)
    for path, node in _nodes(space, "warmup").items():
        for value in node["warmup"].ends() if "warmup" in node else ():
            duration = Duration.parse(value)
            if duration.unit == unit and duration.amount >= length.amount:
                problems.append(f"{path}.warmup: {duration} is all of the training, {length}")


def check_gpus(train: TrainSettings, space: Space | None, problems: list[str]) -> None:
    """Check that a trial takes whole GPUs or a share of one, and that each has a sample a step."""
    if train.gpus > 1 and not float(train.gpus).is_integer():
        problems.append(
            f"train.gpus: {train.gpus:g} is neither a whole number nor a share of one GPU"
        )
    elif train.gpus > 1 and re.fullmatch(r"cuda:\d+|mps", train.device):
        problems.append(
            f"train.device: {train.device} is one device, and a trial takes {train.gpus:g} "
            f"(train.gpus): set train.device=cuda"
        )
    elif train.gpus > 1 and train.micro_batch == "auto":
        problems.append(
            "train.micro_batch: auto is for trials on one GPU alone: give a number of samples"
        )
    elif train.gpus > 1 and space is not None:
        smallest = min(space.shared["batch_size"].ends())
        if smallest < train.gpus:
            problems.append(
                f"space.batch_size: a batch of {smallest} cannot be divided among the "
                f"{train.gpus:g} GPUs of train.gpus"
            )


def _nodes(space: Space, overridden: str = "") -> dict[str, Mapping[str, Domain]]:
    """The domains of a space by their paths, without the shared ones if every option of a branch
    has its own for the name `overridden`."""
    nodes = {"space": space.shared}
    for branch, options in (("optimizer", space.optimizer), ("scheduler", space.scheduler)):
        if all(overridden in own for own in options.values()):
            nodes.pop("space", None)
        nodes |= {f"space.{branch}.{option}": own for option, own in options.items()}
    return nodes


def check_choices(space: Space, problems: list[str]) -> None:
    """Check for lists of values that are too long, or have two values that are equal in Python."""
    for path, node in _nodes(space).items():
        for name, domain in node.items():
            if not isinstance(domain, Choices):
                continue
            if len(domain.values) > MOST_CHOICES:
                problems.append(
                    f"{path}.{name}.choices: {len(domain.values):,} values are too many (at most "
                    f"{MOST_CHOICES:,}): give a range with low and high"
                )
                continue
            known: dict[Hashable, Any] = {}
            for value in domain.values:
                other = known.setdefault(_hashable(value), value)
                if other is not value:
                    problems.append(
                        f"{path}.{name}.choices: {as_given(other)} and {as_given(value)} are equal "
                        f"to Python, so that trials with one and the other could not be told "
                        f"apart: leave one of them out"
                    )


def _hashable(value: Any) -> Hashable:
    """A hashable stand-in for a value; equal values have equal ones."""
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, Mapping):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return typing.cast(Hashable, value)


def _is_fine(key: str, problems: list[str]) -> bool:
    """Return whether no problem concerns this key or one below it."""
    return not any(re.match(rf"{re.escape(key)}[.: ]", problem) for problem in problems)


def _length_is_fine(problems: list[str]) -> bool:
    """Return whether no problem concerns the length of the training."""
    both = any(problem.startswith("train: ") for problem in problems)
    return not both and all(_is_fine(key, problems) for key in ("train.epochs", "train.steps"))


def check_model_values(space: Space, model: ComponentConfig, problems: list[str]) -> None:
    """Check the values, fixed and searched, of the arguments of a catalogue model."""
    parameters = MODELS[model.name].parameters
    for name, domain in space.tuned("model").items():
        if name in parameters:
            wrong = [
                problem for value in domain.ends() if (problem := parameters[name].problem(value))
            ]
            problems.extend(f"space.model.{name}: {problem}" for problem in wrong)


def check_metric(
    metric: MetricSettings, train: TrainSettings, space: Space | None, problems: list[str]
) -> None:
    """Check that an evaluation yields the optimised metric and those that a plateau monitors."""
    names = metric_names(train)
    if names is None:  # the dry pass compares them with what the user's function returns
        return
    if metric.name not in names:
        problems.append(f"metric.name: {unknown(metric.name, names)}")
    for option, parameters in space.scheduler.items() if space else ():
        domain = parameters.get("monitor")
        if isinstance(domain, (Fixed, Choices)):
            problems.extend(
                f"space.scheduler.{option}.monitor: {unknown(value, names)}"
                for value in domain.grid()
                if value not in names
            )


def check_tuned(space: Space, data: DataSpec, model: ComponentConfig, problems: list[str]) -> None:
    """Check the names of searched arguments of catalogue models and data.

    Those of the user's code are checked when it is imported.
    """
    valid: dict[str, Sequence[str]] = {}
    if not model.own:
        valid["model"] = [*MODELS[model.name].parameters]
    if data.target is None:
        valid["data"] = [*_AUGMENTATION, *SOURCES[data.name].parameters]
    for owner, arguments in valid.items():
        problems.extend(
            f"space.{owner}.{name}: {unknown(name, arguments)}"
            for name in space.tuned(owner)
            if name not in arguments
        )


def check_first(study: StudySettings, space: Space, problems: list[str]) -> None:
    """Check the settings tried first against the space."""
    for index, wanted in enumerate(study.try_first):
        try:
            _, wrong = space.parameters_for(wanted)
        except UserError as error:
            wrong = [str(error)]
        problems.extend(f"study.try_first[{index}]: {problem}" for problem in wrong)


def check_plan(
    study: StudySettings, space: Space, sampler: ComponentConfig, problems: list[str]
) -> None:
    """Check the settings tried first, the balance and the grid against the space."""
    check_first(study, space, problems)
    for name in () if study.balance == "families" else study.balance:
        if name not in ("optimizer", "scheduler"):
            problems.append(f"study.balance: {unknown(name, ('optimizer', 'scheduler'))}")
    if enumerates(sampler):
        if study.balance:
            problems.append("study.balance: a grid has every combination once; leave it empty")
        try:
            next(space.grid())
        except ValueError as error:
            problems.append(str(error))
    elif study.n_trials is None:
        problems.append("study.n_trials: null is for sampler=grid alone: give a number")
    if not math.isfinite(study.timeout or 0):
        problems.append(f"study.timeout: {study.timeout!r} is not finite")
