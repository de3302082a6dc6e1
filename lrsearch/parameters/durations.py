"""Relative time: durations as a user writes them, and their conversion to optimizer steps."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Literal

from lrsearch.errors import UserError
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
    has_epochs: bool = True
    """Whether the length of an epoch is known; if not, the training counts as one epoch."""
    has_steps: bool = True
    """Whether the number of steps is known; if not, `steps` stands for any number of them."""

    @classmethod
    def of(
        cls,
        *,
        n_train: int | None = None,
        batch_size: int | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        eval_every: Duration | None = None,
        drop_last: bool = True,
        accumulate: int = 1,
        processes: int = 1,
    ) -> Length:
        """The length of a training, from its data and `epochs`, or from its `steps`.

        - `n_train`: training samples of an epoch, over all processes.
        - `batch_size`: samples of one batch of one process.
        - `drop_last`: whether the incomplete last batch of an epoch is left out, as lrsearch's own
          loop does. torch's DataLoader and most frameworks keep it.
        - `accumulate`: batches of one optimizer step. The last step of an epoch may have fewer.
        - `processes`: processes among which the batches of an epoch are divided.
        - `steps`: optimizer steps of the whole training; takes precedence over `epochs`. Alone it
          is enough for recipes that count nothing in epochs or evaluations. With `epochs` it needs
          no `n_train`.
        - `eval_every`: time between evaluations; an epoch by default.

        Raises UserError where these do not determine a length.
        """
        for name, number in (("accumulate", accumulate), ("processes", processes)):
            if number < 1:
                raise UserError(f"Length.of: {name} must be 1 or more, not {number}")
        if steps is not None and steps < 1:
            raise UserError(f"Length.of: steps must be 1 or more, not {steps}")
        if (n_train is None) != (batch_size is None):
            raise UserError("Length.of: n_train and batch_size go together")
        has_epochs = True
        if n_train is not None and batch_size is not None:
            whole_batch = batch_size * processes
            batches = n_train // whole_batch if drop_last else math.ceil(n_train / whole_batch)
            per_epoch = max(1, math.ceil(batches / accumulate))
        elif steps is not None and epochs is not None:
            per_epoch = max(1, round(steps / epochs))
        elif steps is not None:
            per_epoch, has_epochs = steps, False
        else:
            raise UserError(
                "Length.of: give n_train, batch_size and epochs, or the number of optimizer steps"
            )
        if steps is None:
            if epochs is None:
                raise UserError("Length.of: a training needs its length: give epochs or steps")
            steps = max(1, round(epochs * per_epoch))
        whole = cls(steps, per_epoch, per_epoch, has_epochs=has_epochs)
        every = per_epoch if eval_every is None else whole.in_steps(eval_every)
        return dataclasses.replace(whole, steps_per_evaluation=min(every, steps))

    def in_steps(self, duration: Duration) -> int:
        """A duration in optimizer steps, at least 1.

        Raises UserError for a duration in epochs where the length of an epoch is not known, or in
        steps where their number is not.
        """
        if duration.unit == "ep":
            self.require_epochs(f"the duration {duration}")
        if duration.unit == "st":
            self.require_steps(f"the duration {duration}")
        scale = {
            "fraction": self.steps,
            "ep": self.steps_per_epoch,
            "st": 1 / self.stride,
        }[duration.unit]
        return max(1, round(duration.amount * scale))

    def require_epochs(self, what: str) -> None:
        """Raise UserError, beginning with `what`, if the length of an epoch is not known."""
        if not self.has_epochs:
            raise UserError(
                f"{what} depends on the length of an epoch, and only the number of steps was "
                f"given: give epochs, too, as in build(model, steps=1000, epochs=10)"
            )

    def require_steps(self, what: str) -> None:
        """Raise UserError, beginning with `what`, if the number of steps is not known."""
        if not self.has_steps:
            raise UserError(
                f"{what} depends on the number of optimizer steps of the training, which is not "
                f"known: give train.steps"
            )

    def in_evaluations(self, duration: Duration) -> int:
        """A duration in evaluations, at least 1.

        Raises UserError where the time between evaluations is not known.
        """
        if self.steps_per_evaluation == self.steps_per_epoch:
            self.require_epochs("a number of evaluations")
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
        return Length(steps, per_epoch, per_evaluation, stride, self.has_epochs, self.has_steps)

    @property
    def evaluations(self) -> int:
        """Number of evaluations; the last step is always evaluated."""
        return math.ceil(self.steps / self.steps_per_evaluation)
