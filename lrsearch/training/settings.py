"""How a model is trained, besides its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.parameters.durations import Duration, Length
from lrsearch.registry import ComponentConfig


@dataclass(frozen=True)
class TrainSettings:
    """Length, evaluation, device and precision. `steps` wins over `epochs`."""

    epochs: Annotated[int | float, Gt(0)] = 10
    steps: Annotated[int, Ge(1)] | None = None
    eval_every: str | float | None = None
    """A duration; each epoch when None."""
    device: str = "auto"
    amp: Literal["none", "bf16", "fp16"] = "none"
    compile: bool = False
    micro_batch: Annotated[int, Ge(1)] | None = None
    """Largest batch that fits the device; larger ones are accumulated from such pieces."""
    threads: Annotated[int, Ge(1)] = 1
    checkpoint_every: Annotated[int, Ge(1)] | None = None
    """Steps between two checkpoints, besides those after epochs and at evaluations."""
    keep_best: Annotated[int, Ge(0)] = 1
    """Of how many of the best trials the final weights are kept."""
    loss: ComponentConfig | None = None
    """None: cross-entropy for classes, mean squared error for numbers."""
    metrics: Mapping[str, ComponentConfig] | None = None
    """None: accuracy for classes, nothing for numbers."""
    groups: tuple[GroupRule, ...] = ()
    """Rules of parameter groups."""
    freeze: str | None = None
    """A regular expression for the names of parameters that do not train."""

    def length(self, batch_size: int, n_train: int) -> Length:
        """How long a training is; the one place where batch size and settings meet."""
        every = self.eval_every
        return Length.of(
            n_train=n_train,
            batch_size=batch_size,
            epochs=self.epochs,
            steps=self.steps,
            eval_every=None if every is None else Duration.parse(every),
        )
