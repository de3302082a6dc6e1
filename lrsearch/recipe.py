"""The recipe: one frozen object that search, training, preview and export all use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError
from lrsearch.hints import unknown
from lrsearch.optimizers import OPTIMIZERS
from lrsearch.parameters import Parameter
from lrsearch.schedules.durations import Duration, Length
from lrsearch.schedules.families import FAMILIES
from lrsearch.schedules.plan import ScheduleInputs, TorchCall
from lrsearch.yaml_text import to_yaml

if TYPE_CHECKING:
    import torch

    from lrsearch.schedules.schedule import Schedule

COMMON: dict[str, Parameter] = {
    "lr": Parameter("float", None, 0.0, open_low=True, help="peak learning rate"),
    "batch_size": Parameter("int", None, 1, help="samples a step"),
    "warmup": Parameter("duration", 0, help="length of the linear warm-up"),
    "grad_clip": Parameter("float", None, 0.0, open_low=True, help="largest gradient norm"),
    "head_lr_factor": Parameter("float", 1.0, 0.0, help="rate of `model.head` over `lr`"),
}
"""What every recipe has, whatever its optimizer and scheduler."""


@dataclass(frozen=True)
class Part:
    """An optimizer or a scheduler: its name in the catalogue and all of its arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


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
    optimizer: Part
    scheduler: Part
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
            if not (parameter.default is None and name == "grad_clip" and self.grad_clip is None)
            and (problem := parameter.problem(getattr(self, name)))
        ]
        optimizer, wrong = _complete(self.optimizer, "optimizer", _optimizer_parameters())
        problems += wrong
        scheduler, wrong = _complete(self.scheduler, "scheduler", _scheduler_parameters())
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
        return FAMILIES[self.scheduler.name].call(inputs), warmup

    def optimizer_call(self) -> tuple[str, dict[str, Any]]:
        """The class of torch.optim and its arguments."""
        kind = OPTIMIZERS[self.optimizer.name]
        return kind.cls, {"lr": self.lr, **kind.fit(dict(self.optimizer.arguments))}

    def build_optimizer(
        self, model: torch.nn.Module | Iterable[torch.nn.Parameter]
    ) -> torch.optim.Optimizer:
        """The optimizer over a model's parameters.

        Where `head_lr_factor` is not 1, the parameters of `model.head` make a group of their own.
        Raises UserError if there is no such part.
        """
        import torch

        cls, arguments = self.optimizer_call()
        return getattr(torch.optim, cls)(self._groups(model), **arguments)  # type: ignore[no-any-return]

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

        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=self.lr)
        schedule = self.build_schedule(optimizer, length)
        if schedule.monitor is not None and losses is None:
            losses = _assumed_losses(length.evaluations, self.call(length)[0].arguments["mode"])
        rates = [schedule.rates[0]]
        for step in range(1, length.steps + 1):
            optimizer.step()
            schedule.step()
            evaluation, rest = divmod(step, length.steps_per_evaluation)
            if losses is not None and schedule.monitor is not None and rest == 0:
                schedule.evaluated({schedule.monitor: losses[evaluation - 1]})
            rates.append(schedule.rates[0])
        return Preview(rates, list(losses) if schedule.monitor and losses else None)

    # Serialising

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; `from_dict` reads them back."""
        plain: dict[str, Any] = {
            "lr": self.lr,
            "batch_size": self.batch_size,
            "optimizer": {"name": self.optimizer.name, **_plain(self.optimizer.arguments)},
            "scheduler": {"name": self.scheduler.name, **_plain(self.scheduler.arguments)},
            "warmup": self.warmup,
            "grad_clip": self.grad_clip,
        }
        if self.head_lr_factor != 1.0:
            plain["head_lr_factor"] = self.head_lr_factor
        if self.lr_ref is not None:
            plain["lr_ref"] = self.lr_ref
        for name, arguments in (("model", self.model), ("data", self.data)):
            if arguments:
                plain[name] = _plain(arguments)
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
            part = {"name": plain[key]} if isinstance(plain[key], str) else dict(plain[key])
            values[key] = Part(str(part.pop("name", "")), part)
        return cls(**values)

    def to_yaml(self) -> str:
        """The recipe as YAML."""
        return to_yaml(self.to_dict())

    def describe(self) -> str:
        """One line for people: `sgd lr=0.1 batch=128 cosine(final=0) warmup=0.05`."""
        optimizer = _differing(self.optimizer, _optimizer_parameters()[self.optimizer.name])
        scheduler = _differing(self.scheduler, _scheduler_parameters()[self.scheduler.name])
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


def _optimizer_parameters() -> dict[str, Mapping[str, Parameter]]:
    return {name: kind.parameters for name, kind in OPTIMIZERS.items()}


def _scheduler_parameters() -> dict[str, Mapping[str, Parameter]]:
    return {name: family.parameters for name, family in FAMILIES.items()}


def _complete(
    part: Part, what: str, catalogue: Mapping[str, Mapping[str, Parameter]]
) -> tuple[Part, list[str]]:
    """The part with its defaults filled in, and what is wrong with it."""
    if part.name not in catalogue:
        return part, [f"{what}: {unknown(part.name, catalogue)}"]
    parameters = catalogue[part.name]
    problems = []
    for name, value in part.arguments.items():
        if name not in parameters:
            problems.append(f"{part.name}: {unknown(name, parameters)}")
        elif problem := parameters[name].problem(value):
            problems.append(f"{part.name}.{name}: {problem}")
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return Part(part.name, _plain(defaults | dict(part.arguments))), problems


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    plain: Callable[[Any], Any] = lambda value: (  # noqa: E731
        [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
    )
    return {name: plain(value) for name, value in arguments.items()}


def _differing(part: Part, parameters: Mapping[str, Parameter]) -> str:
    """`name(argument=value, ...)` with what differs from the defaults."""
    defaults = _plain({name: parameter.default for name, parameter in parameters.items()})
    words = [
        f"{name}={_short(value)}"
        for name, value in part.arguments.items()
        if value != defaults.get(name)
    ]
    return f"{part.name}({', '.join(words)})" if words else part.name


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _assumed_losses(evaluations: int, mode: str) -> list[float]:
    """Falls for the first two fifths of training, then stays; rises where more is better."""
    sign = 1.0 if mode == "min" else -1.0
    bend = max(1.0, 0.4 * evaluations)
    return [sign * (2.0 - min(1.0, done / bend)) for done in range(evaluations)]
