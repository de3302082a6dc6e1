"""Relative time: durations as a user writes them, and their conversion to optimizer steps."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from lrsearch.text.hints import as_given

Unit = Literal["fraction", "ep", "st"]

_TEXT = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(ep|st|)\s*")


@dataclass(frozen=True)
class Duration:
    """A stretch of training: a fraction of the whole, epochs (`10ep`) or steps (`500st`)."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, value: object) -> Duration:
        """Parse `0.3`, `"10ep"` or `"500st"`. Raises ValueError for anything else."""
        match = _TEXT.fullmatch(str(value)) if isinstance(value, (int, float, str)) else None
        if match is None or isinstance(value, bool):
            raise ValueError(
                f"{as_given(value)} is not a duration: write a fraction of the training such as "
                f"0.3, epochs such as 10ep, or steps such as 500st"
            )
        amount = float(match[1])
        if match[2] == "ep":
            return cls(amount, "ep")
        if match[2] == "st":
            return cls(amount, "st")
        if amount > 1:
            raise ValueError(
                f"{value!r} is above 1: did you mean {amount:g}ep (epochs) or {amount:g}st "
                f"(steps)? A bare number is a fraction of the whole training"
            )
        return cls(amount, "fraction")

    def __str__(self) -> str:
        return f"{self.amount:g}" + ("" if self.unit == "fraction" else self.unit)


@dataclass(frozen=True)
class Length:
    """The length of a training in optimizer steps, by which durations are converted to steps."""

    steps: int
    steps_per_epoch: int
    steps_per_evaluation: int
    stride: int = 1
    """Optimizer steps that one step of this length stands for; above 1 only for rough previews."""

    @classmethod
    def of(
        cls,
        *,
        n_train: int,
        batch_size: int,
        epochs: float | None = None,
        steps: int | None = None,
        eval_every: Duration | None = None,
    ) -> Length:
        """The length of a training on `n_train` samples; `steps` takes precedence over `epochs`.

        The incomplete last batch of an epoch is dropped, so all batches have one size. Raises
        ValueError without `epochs` and `steps`.
        """
        per_epoch = max(1, n_train // batch_size)
        if steps is None:
            if epochs is None:
                raise ValueError("a training needs its length in epochs or in steps")
            steps = max(1, round(epochs * per_epoch))
        whole = cls(steps, per_epoch, per_epoch)
        every = per_epoch if eval_every is None else whole.in_steps(eval_every)
        return cls(steps, per_epoch, min(every, steps))

    def in_steps(self, duration: Duration) -> int:
        """A duration in optimizer steps, at least 1."""
        scale = {
            "fraction": self.steps,
            "ep": self.steps_per_epoch,
            "st": 1 / self.stride,
        }[duration.unit]
        return max(1, round(duration.amount * scale))

    def in_evaluations(self, duration: Duration) -> int:
        """A duration in evaluations, at least 1."""
        return max(1, round(self.in_steps(duration) / self.steps_per_evaluation))

    def warmup_steps(self, duration: Duration) -> int:
        """Number of warm-up steps: 0 for a zero duration, else at least 1 and below `steps`."""
        if duration.amount == 0:
            return 0
        return min(self.in_steps(duration), self.steps - 1)

    def rough(self, at_most: int) -> Length:
        """The same training in about `at_most` steps, for a quick preview of its rates."""
        stride = math.ceil(self.steps / at_most)
        whole = (self.steps, self.steps_per_epoch, self.steps_per_evaluation)
        steps, per_epoch, per_evaluation = (max(1, round(n / stride)) for n in whole)
        return Length(steps, per_epoch, per_evaluation, stride)

    @property
    def evaluations(self) -> int:
        """Number of evaluations; the last step is always evaluated."""
        return math.ceil(self.steps / self.steps_per_evaluation)
