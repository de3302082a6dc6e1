"""The recipe: one frozen object that search, training, preview and export all use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError
from lrsearch.optimizers import OPTIMIZERS, divide_call_of
from lrsearch.optimizers import call_of as optimizer_call_of
from lrsearch.optimizers.group_rules import GroupRule, parse_rules, regex_problem
from lrsearch.parameters.durations import Duration, Length
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry, listed
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.schedules.families import call_of as schedule_call_of
from lrsearch.schedules.plan import ScheduleInputs, TorchCall
from lrsearch.text.hints import unknown
from lrsearch.text.yaml import read_file, to_yaml

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from lrsearch.schedules.schedule import Schedule

COMMON: dict[str, Parameter] = {
    "lr": Parameter("float", None, 0.0, open_low=True, help="peak learning rate", required=True),
    "batch_size": Parameter("int", None, 1, help="samples a step", required=True),
    "warmup": Parameter("duration", 0, help="length of the linear warm-up"),
    "grad_clip": Parameter("float", None, 0.0, open_low=True, help="largest gradient norm"),
}
"""The parameters of every recipe, whatever its optimizer and scheduler."""
_MOST_STEPS = 200_000
"""The most steps of a preview that must take every step, which takes some seconds."""


@dataclass(frozen=True)
class Preview:
    """The learning rates of a recipe without training: one per step, and one after the last step.

    `assumed_losses` are the losses that a plateau scheduler was given, one per evaluation; None for
    other schedulers.
    """

    rates: list[float]
    assumed_losses: list[float] | None


@dataclass(frozen=True)
class Recipe:
    """A learning-rate recipe, whose durations are relative to the `Length` of a training.

    `lr` is the peak rate of the first parameter group; `lr_ref` the rate at the reference batch
    size if rate and batch size are coupled. `groups` are the rules of parameter groups, `freeze` a
    regular expression for the names of parameters that are not trained. `model` and `data` are the
    tuned arguments of model and data.
    """

    lr: float
    batch_size: int
    optimizer: ComponentConfig
    scheduler: ComponentConfig
    warmup: float | str = 0
    grad_clip: float | None = None
    lr_ref: float | None = None
    groups: tuple[GroupRule, ...] = ()
    freeze: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {problem}"
            for name, parameter in COMMON.items()
            if (problem := parameter.problem(getattr(self, name)))
        ]
        optimizer = OPTIMIZERS.complete(self.optimizer, problems)
        scheduler = SCHEDULERS.complete(self.scheduler, problems)
        taken = OPTIMIZERS[optimizer.name].parameters if optimizer.name in OPTIMIZERS else {}
        problems += [
            f"groups.{rule.name}.{problem}"
            for rule in (self.groups if taken else ())
            for problem in rule.problems(taken)
        ]
        if self.freeze is not None and (problem := regex_problem(self.freeze)):
            problems.append(f"freeze: {problem}")
        if problems:
            raise UserError("this recipe cannot be built:\n  " + "\n  ".join(problems))
        object.__setattr__(self, "optimizer", optimizer)
        object.__setattr__(self, "scheduler", scheduler)

    # Building

    def call(self, length: Length) -> tuple[TorchCall, int]:
        """The call of the torch scheduler for this length, and the number of warm-up steps."""
        warmup = length.warmup_steps(Duration.parse(self.warmup))
        inputs = ScheduleInputs(self.scheduler.arguments, self.lr, length, warmup)
        return schedule_call_of(self.scheduler, inputs), warmup

    def optimizer_call(self) -> tuple[str, dict[str, Any]]:
        """The dotted path of the optimizer's class, such as `torch.optim.SGD`, and its arguments.

        An optimizer of the user's own may be a function that returns an optimizer.
        """
        return optimizer_call_of(self.optimizer, self.lr)

    def build_optimizer(
        self, model: torch.nn.Module | Iterable[torch.nn.Parameter]
    ) -> torch.optim.Optimizer:
        """Build the optimizer over the parameters of a model, in the groups of the recipe.

        Parameters that the recipe freezes are frozen in the model, too. Rules need the model, and
        so does an optimizer that treats parameters by what they are; with parameters alone there
        is one group. Raises UserError without the model that is needed, for a rule that matches
        nothing, or where an optimizer of the user's own cannot be used.
        """
        import torch

        from lrsearch.optimizers.build import build_optimizer

        if isinstance(model, torch.nn.Module):
            parameters: list[Any] = list(self.parameter_groups(model))
        elif self.has_groups:
            why = (
                "this recipe has parameter groups or frozen parameters, which go by their names"
                if self.groups or self.freeze is not None
                else f"{self.optimizer.name} treats parameters by what they are in the model"
            )
            raise UserError(f"{why}: give build_optimizer the model, not its parameters")
        else:
            parameters = list(model)
        return build_optimizer(self.optimizer, parameters, self.lr)

    def parameter_groups(self, model: torch.nn.Module) -> list[dict[str, Any]]:
        """The parameter groups of a model, as `torch.optim` takes them, with `param_names`.

        The parameters that match `freeze` are frozen in the model. Raises UserError for a rule or a
        `freeze` that matches nothing.
        """
        from lrsearch.optimizers import parameter_groups

        if self.freeze is not None:
            parameter_groups.check_freeze(model, self.freeze)
            parameter_groups.freeze(model, self.freeze)
        parameter_groups.check_rules(model, self.groups)
        groups = parameter_groups.parameter_groups(model, self.groups, self.lr)
        if (call := divide_call_of(self.optimizer)) is not None:
            divide, arguments = call
            return divide(model, groups, **arguments)
        return groups

    @property
    def has_groups(self) -> bool:
        """Whether the model decides which parameters train, and how."""
        is_divided = divide_call_of(self.optimizer) is not None
        return bool(self.groups) or self.freeze is not None or is_divided

    def build_schedule(self, optimizer: torch.optim.Optimizer, length: Length) -> Schedule:
        """Build the schedule on an optimizer for a training of this length."""
        from lrsearch.schedules.schedule import Schedule

        call, warmup = self.call(length)
        return Schedule(optimizer, call, lr=self.lr, total_steps=length.steps, warmup_steps=warmup)

    def build(
        self,
        model: torch.nn.Module,
        *,
        steps: int | None = None,
        epochs: float | None = None,
        length: Length | None = None,
    ) -> tuple[torch.optim.Optimizer, Schedule]:
        """Build the optimizer over a model, and the schedule on the optimizer.

        `steps` is the number of optimizer steps of the whole training. A recipe that counts in
        epochs or evaluations needs `epochs`, too. Instead of both, `length` gives all that
        `Length.of` knows. Call `schedule.step()` after each optimizer step, and
        `schedule.evaluated(metrics)` after each evaluation. Raises UserError where the length is
        not enough for this recipe, and as `build_optimizer` does.
        """
        if length is None:
            length = Length.of(steps=steps, epochs=epochs)
        elif steps is not None or epochs is not None:
            raise UserError("build: give either length, or steps and epochs")
        optimizer = self.build_optimizer(model)
        return optimizer, self.build_schedule(optimizer, length)

    def preview(self, length: Length, losses: Sequence[float] | None = None) -> Preview:
        """Compute the `length.steps + 1` rates of the first parameter group without training.

        A plateau scheduler is given `losses`, one per evaluation; by default a curve that falls
        and then stays constant.
        """
        import torch

        # With momentum, because a scheduler of the user's own may cycle it.
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], self.lr, momentum=0.9)
        schedule = Recipe.build_schedule(self, optimizer, length)  # not a trial's, for training
        if schedule.monitor is not None and losses is None:
            mode = self.call(length)[0].arguments.get("mode", "min")
            losses = _assumed_losses(length.evaluations, mode)
        rates = [schedule.rates[0]]
        for step in range(1, length.steps + 1):
            optimizer.step()
            schedule.step()
            evaluation, rest = divmod(step, length.steps_per_evaluation)
            if losses is not None and schedule.monitor is not None and rest == 0:
                schedule.evaluated({schedule.monitor: losses[evaluation - 1]})
            rates.append(schedule.rates[0])
        return Preview(rates, list(losses) if schedule.monitor and losses else None)

    def rates(self, length: Length) -> NDArray[np.float64] | None:
        """The `length.steps + 1` rates of the first parameter group, computed without torch.

        They are those of `preview` but for rounding errors; of a plateau scheduler, those without a
        cut. None for a scheduler of the user's own, which is not imported. Raises UserError where
        the length is not enough for this recipe.
        """
        from lrsearch.schedules.rates import rates_of

        if self.scheduler.target is not None:
            return None
        call, warmup = self.call(length)
        return rates_of(call, self.lr, length.steps, warmup)

    def rough(self, length: Length, at_most: int) -> Length | None:
        """A length of about `at_most` steps or fewer, whose preview has the rates of `length`.

        For a scheduler class of the user's own it is `length` itself, because its arguments may be
        numbers of steps; None if their number is not known, or the preview would take too long.
        """
        if not self.call(length)[0].is_own:
            return length.rough(at_most)
        return length if length.has_steps and length.steps <= _MOST_STEPS else None

    # Serialising

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML, which `from_dict` reads."""
        plain: dict[str, Any] = {
            "lr": self.lr,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer.to_dict(),
            "scheduler": self.scheduler.to_dict(),
            "warmup": self.warmup,
            "grad_clip": self.grad_clip,
        }
        if self.lr_ref is not None:
            plain["lr_ref"] = self.lr_ref
        if self.groups:
            plain["groups"] = [listed(rule.to_dict()) for rule in self.groups]
        if self.freeze is not None:
            plain["freeze"] = self.freeze
        for name, arguments in (("model", self.model), ("data", self.data)):
            if arguments:
                plain[name] = listed(arguments)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Recipe:
        """Read the output of `to_dict`. Raises UserError with all unknown keys and bad values."""
        known = set(cls.__dataclass_fields__)
        problems = [unknown(key, known) for key in plain if key not in known]
        problems += [
            f"{key} is missing"
            for key in ("lr", "batch_size", "optimizer", "scheduler")
            if key not in plain
        ]
        values = dict(plain)
        if "groups" in plain:
            values["groups"] = parse_rules("groups", plain["groups"], problems)
        if problems:
            raise UserError("this is not a recipe:\n  " + "\n  ".join(problems))
        for key in ("optimizer", "scheduler"):
            values[key] = ComponentConfig.from_dict(plain[key])
        return cls(**values)

    @classmethod
    def from_file(cls, path: str | Path) -> Recipe:
        """Read a recipe from YAML: a `best.yaml`, or the output of `to_yaml`.

        Raises UserError if the file cannot be read or holds no recipe.
        """
        plain = read_file(Path(path))
        if not isinstance(plain, Mapping):
            raise UserError(f"{path} holds no recipe")
        if isinstance(plain.get("recipe"), Mapping):
            plain = plain["recipe"]
        try:
            return cls.from_dict(plain)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    def to_yaml(self) -> str:
        """The recipe as YAML."""
        return to_yaml(self.to_dict())

    def describe(self, searched: Collection[str] = ()) -> str:
        """A readable summary in one line: `sgd lr=0.1 batch=128 cosine(final=0) warmup=0.05`.

        It shows what differs from the defaults, and all that was searched: `searched` are the names
        of these parameters as in `Space.searched`.
        """
        optimizer, scheduler = self.optimizer, self.scheduler
        owners = (optimizer.name, scheduler.name)

        def is_searched(name: str) -> bool:
            return name in searched or any(f"{owner}.{name}" in searched for owner in owners)

        words = [
            _differing(optimizer, OPTIMIZERS, searched, is_shared=True),
            f"lr={self.lr:.4g}",
            f"batch={self.batch_size}",
            _differing(scheduler, SCHEDULERS, searched),
        ]
        if Duration.parse(self.warmup).amount or is_searched("warmup"):
            warmup = self.warmup
            words.append(f"warmup={warmup if isinstance(warmup, str) else format(warmup, '.3g')}")
        if self.grad_clip is not None or is_searched("grad_clip"):
            clip = "none" if self.grad_clip is None else format(self.grad_clip, ".3g")
            words.append(f"clip={clip}")
        words += [_rule_words(rule, searched) for rule in self.groups]
        if self.freeze is not None:
            words.append(f"freeze={self.freeze}")
        words += [
            f"{owner}.{name}={_short(value)}"
            for owner, arguments in (("model", self.model), ("data", self.data))
            for name, value in arguments.items()
        ]
        return " ".join(words)


def _differing(
    config: ComponentConfig,
    registry: Registry[Component],
    searched: Collection[str],
    is_shared: bool = False,
) -> str:
    """`name(argument=value, ...)` with the arguments that differ from the defaults or are searched.

    `is_shared` says that `searched` may have an argument without the name of the component.
    """
    defaults = {} if config.own else listed(registry[config.name].complete({}))
    words = [
        f"{name}={_short(value)}"
        for name, value in config.arguments.items()
        if name not in defaults
        or value != defaults[name]
        or f"{config.name}.{name}" in searched
        or (is_shared and name in searched)
    ]
    return f"{config.name}({', '.join(words)})" if words else config.name


def _rule_words(rule: GroupRule, searched: Collection[str]) -> str:
    """`name(argument=value, ...)` of a rule: what differs from the defaults or is searched."""
    defaults = {name: parameter.default for name, parameter in rule.kind.parameters.items()}
    words = [
        f"{name}={_short(value)}"
        for name, value in rule.arguments.items()
        if value != defaults.get(name) or f"groups.{rule.name}.{name}" in searched
    ]
    return f"{rule.name}({', '.join(words)})" if words else rule.name


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _assumed_losses(evaluations: int, mode: str) -> list[float]:
    """Values that improve for the first two fifths of the evaluations, then stay constant.

    They fall with `mode="min"` and rise with `mode="max"`.
    """
    sign = 1.0 if mode == "min" else -1.0
    bend = max(1.0, 0.4 * evaluations)
    return [sign * (2.0 - min(1.0, done / bend)) for done in range(evaluations)]
