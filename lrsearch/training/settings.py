"""The settings of a training that are not part of its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from lrsearch.errors import UserError
from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.parameters.durations import Duration, Length
from lrsearch.registry import ComponentConfig

EVALUATION_BATCH = 1024
"""Samples that are evaluated at a time if `micro_batch` is not set."""
CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
"""A mode of torch.compile."""


@dataclass(frozen=True)
class Averaging:
    """An exponential moving average (EMA) of the weights, over optimizer steps."""

    decay: Annotated[float, Ge(0), Lt(1)] = 0.999
    """The share of the average that each step keeps."""
    warmup: bool = False
    """Whether step n keeps at most (1 + n) / (10 + n), so that the first steps are forgotten."""


@dataclass(frozen=True)
class EarlyStopping:
    """When a training ends before its planned length."""

    patience: Annotated[int, Ge(1)] = 5
    """Number of evaluations in a row without an improvement after which the training ends."""
    min_delta: Annotated[float, Ge(0)] = 0.0
    """An improvement is a value that is better than the best so far by more than this."""


@dataclass(frozen=True)
class TrainSettings:
    """Length, evaluation, device, precision and more. `steps` takes precedence over `epochs`."""

    epochs: Annotated[int | float, Gt(0)] = 10
    steps: Annotated[int, Ge(1)] | None = None
    eval_every: str | float | None = None
    """Time between evaluations, a duration; None is one epoch."""
    device: str = "auto"
    amp: Literal["none", "bf16", "fp16"] = "none"
    gpus: Annotated[int | float, Gt(0)] = 1
    """GPUs of one trial: a whole number, or a share of one, such as 0.5 for two trials on each."""
    channels_last: bool = False
    """Whether images and the weights of convolutions lie in memory with the channels last."""
    compile: bool | CompileMode = False
    """Whether torch.compile compiles the model, or in which mode; true is the mode `default`."""
    micro_batch: Annotated[int, Ge(1)] | Literal["auto"] | None = None
    """Most samples of one forward pass; larger batches are accumulated from pieces of this size.

    `auto` is the whole batch, halved for as long as the memory does not suffice."""
    ema: Averaging | None = None
    """The moving average of the weights that is evaluated and kept; None is the weights alone."""
    early_stopping: EarlyStopping | None = None
    """None is no early stopping."""
    threads: Annotated[int, Ge(1)] = 1
    """CPU threads of torch in each worker."""
    checkpoint_every: Annotated[int, Ge(1)] | None = None
    """Steps between two checkpoints, besides those after epochs and at evaluations."""
    keep_best: Annotated[int, Ge(0)] = 1
    """Number of best trials whose weights are kept."""
    loss: ComponentConfig | None = None
    """None is cross-entropy for classes, mean squared error for numbers."""
    metrics: Mapping[str, ComponentConfig] | None = None
    """Metrics by name; None is accuracy for classes, no metric for numbers."""
    loss_step: ComponentConfig | None = None
    """The user's function of (model, batch) that returns the loss to train by; None computes
    `loss` of the model's outputs."""
    evaluate: ComponentConfig | None = None
    """The user's function of (model, batches) that returns the values of an evaluation by name;
    None takes the mean of `loss` and `metrics` over the samples."""
    groups: tuple[GroupRule, ...] = ()
    """Rules of parameter groups."""
    freeze: str | None = None
    """A regular expression for the names of parameters that are not trained."""

    @property
    def compile_mode(self) -> str | None:
        """The mode of torch.compile; None where the model is not compiled."""
        if isinstance(self.compile, bool):
            return "default" if self.compile else None
        return self.compile

    @property
    def fixed_micro_batch(self) -> int | None:
        """The micro batch where it is a number; None for whole batches, as `auto` begins with."""
        return None if isinstance(self.micro_batch, str) else self.micro_batch

    @property
    def evaluation_batch(self) -> int:
        """Samples that are evaluated at a time, for as long as the memory suffices."""
        return self.fixed_micro_batch or EVALUATION_BATCH

    def length(self, batch_size: int, n_train: int | None) -> Length:
        """The length of a training with this batch size on `n_train` samples.

        Without a number of samples it has `steps`, which count as one epoch. Raises UserError
        where `steps` or `eval_every` is missing then.
        """
        every = self.eval_every
        if n_train is None:
            missing = [key for key in ("steps", "eval_every") if getattr(self, key) is None]
            if missing:
                raise UserError(
                    f"train.{' and train.'.join(missing)}: the training data are an "
                    f"IterableDataset that does not tell its length, so that there are no epochs: "
                    f"give train.steps=1000 train.eval_every=100st, or define its __len__"
                )
            n_train = batch_size * int(self.steps or 1)
        return Length.of(
            n_train=n_train,
            batch_size=batch_size,
            epochs=self.epochs,
            steps=self.steps,
            eval_every=None if every is None else Duration.parse(every),
        )
