"""The recipe: one frozen object that search, training, preview and export all use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError
from lrsearch.hints import unknown
from lrsearch.optimizers import OPTIMIZERS
from lrsearch.optimizers import call_of as optimizer_call_of
from lrsearch.parameters import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry, listed
from lrsearch.schedules.durations import Duration, Length
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.schedules.families import call_of as schedule_call_of
from lrsearch.schedules.plan import ScheduleInputs, TorchCall
from lrsearch.yaml_text import to_yaml

if TYPE_CHECKING:
    import torch

    from lrsearch.schedules.schedule import Schedule

COMMON: dict[str, Parameter] = {
    "lr": Parameter("float", None, 0.0, open_low=True, help="peak learning rate", required=True),
    "batch_size": Parameter("int", None, 1, help="samples a step", required=True),
    "warmup": Parameter("duration", 0, help="length of the linear warm-up"),
    "grad_clip": Parameter("float", None, 0.0, open_low=True, help="largest gradient norm"),
    "head_lr_factor": Parameter("float", 1.0, 0.0, help="rate of `model.head` over `lr`"),
}
"""What every recipe has, whatever its optimizer and scheduler."""
_MOST_STEPS = 200_000
"""Of a training whose rates are known only by taking each step: that takes some seconds."""


@dataclass(frozen=True)
class Preview:
    """A learning-rate curve without training: one rate a step, the last after the last step.

    `assumed_losses` is the loss at each evaluation that a plateau was shown, else None.
    """

    rates: list[float]
    assumed_losses: list[float] | None


@dataclass(frozen=True)
class Recipe:
    """A learning-rate recipe. Durations are relative until `Length` is known.

    `lr` is the peak rate of the first parameter group; `lr_ref` the rate at the reference batch
    size where the two are coupled. `model` and `data` hold tuned arguments of the user's own.
    """

    lr: float
    batch_size: int
    optimizer: ComponentConfig
    scheduler: ComponentConfig
    warmup: float | str = 0
    grad_clip: float | None = None
    head_lr_factor: float = 1.0
    lr_ref: float | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {problem}"
            for name, parameter in COMMON.items()
            if (problem := parameter.problem(getattr(self, name)))
        ]
        optimizer, wrong = _complete(self.optimizer, OPTIMIZERS)
        problems += wrong
        scheduler, wrong = _complete(self.scheduler, SCHEDULERS)
        problems += wrong
        if problems:
            raise UserError("this recipe cannot be built:\n  " + "\n  ".join(problems))
        object.__setattr__(self, "optimizer", optimizer)
        object.__setattr__(self, "scheduler", scheduler)

    # Building

    def call(self, length: Length) -> tuple[TorchCall, int]:
        """The torch scheduler that the recipe means at this length, and its steps of warm-up."""
        warmup = length.warmup_steps(Duration.parse(self.warmup))
        inputs = ScheduleInputs(self.scheduler.arguments, self.lr, length, warmup)
        return schedule_call_of(self.scheduler, inputs), warmup

    def optimizer_call(self) -> tuple[str, dict[str, Any]]:
        """The dotted path of the optimizer's class, such as `torch.optim.SGD`, and its arguments.

        Of an optimizer of the user's own it is what makes the optimizer, class or function.
        """
        return optimizer_call_of(self.optimizer, self.lr)

    def build_optimizer(
        self, model: torch.nn.Module | Iterable[torch.nn.Parameter]
    ) -> torch.optim.Optimizer:
        """The optimizer over a model's parameters.

        Where `head_lr_factor` is not 1, the parameters of `model.head` make a group of their own.
        Raises UserError if there is no such part, or an optimizer of the user's own cannot be used.
        """
        from lrsearch.optimizers.build import build_optimizer

        return build_optimizer(self.optimizer, self._groups(model), self.lr)

    def _groups(self, model: torch.nn.Module | Iterable[torch.nn.Parameter]) -> list[Any]:
        import torch

        if not isinstance(model, torch.nn.Module):
            return list(model)
        if self.head_lr_factor == 1.0:
            return [p for p in model.parameters() if p.requires_grad]
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        head = [p for name, p in named if name.startswith("head.")]
        body = [p for name, p in named if not name.startswith("head.")]
        if not head or not body:
            raise UserError(
                f"head_lr_factor is {self.head_lr_factor:g}, but {type(model).__name__} has no "
                f"part named `head` beside others: name the last layer `head`, or use 1"
            )
        rate = self.lr * self.head_lr_factor
        return [
            {"params": body, "name": "body", "lr_factor": 1.0},
            {"params": head, "name": "head", "lr_factor": self.head_lr_factor, "lr": rate},
        ]

    def build_schedule(self, optimizer: torch.optim.Optimizer, length: Length) -> Schedule:
        """The schedule on an optimizer, for a training of this length."""
        from lrsearch.schedules.schedule import Schedule

        call, warmup = self.call(length)
        return Schedule(optimizer, call, lr=self.lr, total_steps=length.steps, warmup_steps=warmup)

    def preview(self, length: Length, losses: Sequence[float] | None = None) -> Preview:
        """The rate at each step without training: `length.steps + 1` of them.

        A plateau is shown `losses`, one an evaluation, or else a curve that falls and flattens.
        """
        import torch

        # A scheduler of the user's own may cycle the momentum.
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], self.lr, momentum=0.9)
        schedule = self.build_schedule(optimizer, length)
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

    def rough(self, length: Length, at_most: int) -> Length | None:
        """A length of about `at_most` steps, or fewer, whose preview has the rates of this one's.

        For a class of the user's own it is the length itself, because its arguments may count
        steps; None where a preview of that would take too long.
        """
        if not self.call(length)[0].is_own:
            return length.rough(at_most)
        return length if length.steps <= _MOST_STEPS else None

    # Serialising

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; `from_dict` reads them back."""
        plain: dict[str, Any] = {
            "lr": self.lr,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer.to_dict(),
            "scheduler": self.scheduler.to_dict(),
            "warmup": self.warmup,
            "grad_clip": self.grad_clip,
        }
        if self.head_lr_factor != 1.0:
            plain["head_lr_factor"] = self.head_lr_factor
        if self.lr_ref is not None:
            plain["lr_ref"] = self.lr_ref
        for name, arguments in (("model", self.model), ("data", self.data)):
            if arguments:
                plain[name] = listed(arguments)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Recipe:
        """Reads `to_dict` back. Raises UserError naming every unknown key and bad value."""
        known = set(cls.__dataclass_fields__)
        problems = [unknown(key, known) for key in plain if key not in known]
        problems += [
            f"{key} is missing"
            for key in ("lr", "batch_size", "optimizer", "scheduler")
            if key not in plain
        ]
        if problems:
            raise UserError("this is not a recipe:\n  " + "\n  ".join(problems))
        values = dict(plain)
        for key in ("optimizer", "scheduler"):
            values[key] = ComponentConfig.from_dict(plain[key])
        return cls(**values)

    def to_yaml(self) -> str:
        """The recipe as YAML."""
        return to_yaml(self.to_dict())

    def describe(self) -> str:
        """One line for people: `sgd lr=0.1 batch=128 cosine(final=0) warmup=0.05`."""
        optimizer = _differing(self.optimizer, OPTIMIZERS)
        scheduler = _differing(self.scheduler, SCHEDULERS)
        words = [optimizer, f"lr={self.lr:.4g}", f"batch={self.batch_size}", scheduler]
        if Duration.parse(self.warmup).amount:
            warmup = self.warmup
            words.append(f"warmup={warmup if isinstance(warmup, str) else format(warmup, '.3g')}")
        if self.grad_clip is not None:
            words.append(f"clip={self.grad_clip:.3g}")
        if self.head_lr_factor != 1.0:
            words.append(f"head×{self.head_lr_factor:.3g}")
        words += [
            f"{owner}.{name}={_short(value)}"
            for owner, arguments in (("model", self.model), ("data", self.data))
            for name, value in arguments.items()
        ]
        return " ".join(words)


def _complete(
    config: ComponentConfig, registry: Registry[Component]
) -> tuple[ComponentConfig, list[str]]:
    """The component with its defaults filled in, and what is wrong with it.

    The user's own code is not imported: recipes are read where it is not installed. Its arguments
    were checked with the configuration.
    """
    if config.own:
        return replace(config, arguments=listed(config.arguments)), []
    if config.name not in registry:
        return config, [f"{registry.noun}: {unknown(config.name, registry)}"]
    component = registry[config.name]
    arguments = listed(component.complete(config.arguments))
    return replace(config, arguments=arguments), component.problems(config.name, config.arguments)


def _differing(config: ComponentConfig, registry: Registry[Component]) -> str:
    """`name(argument=value, ...)` with what differs from the defaults."""
    defaults = {} if config.own else listed(registry[config.name].complete({}))
    words = [
        f"{name}={_short(value)}"
        for name, value in config.arguments.items()
        if name not in defaults or value != defaults[name]
    ]
    return f"{config.name}({', '.join(words)})" if words else config.name


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _assumed_losses(evaluations: int, mode: str) -> list[float]:
    """Falls for the first two fifths of training, then stays; rises where more is better."""
    sign = 1.0 if mode == "min" else -1.0
    bend = max(1.0, 0.4 * evaluations)
    return [sign * (2.0 - min(1.0, done / bend)) for done in range(evaluations)]
