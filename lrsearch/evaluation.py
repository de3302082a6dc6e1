"""The evaluation: the one object that training reports, the database stores and all views read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measurements of one evaluation of a training.

    Learning rates are those of `optimizer.param_groups`, one per group, the first group first.
    """

    index: int
    """Number of this evaluation within its training, from 1."""
    epoch: float
    """Epochs done since the start of the training."""
    step: int
    """Optimizer steps done since the start of the training."""
    values: Mapping[str, float]
    """`train_loss` (mean since the last evaluation), `val_loss`, and `val_` + name per metric.

    A training loop of the user's own names its values itself, and need not have a loss.
    """
    lr_start: tuple[float, ...]
    """At the start of the first step since the last evaluation."""
    lr_end: tuple[float, ...]
    """After the last step, before a plateau scheduler receives this evaluation."""
    grad_norm: float | None
    """Mean over the measured steps: all of them with gradient clipping, a sample without."""
    clipped: float | None
    """Share of steps whose gradient was clipped; None without clipping."""
    seconds: float
    """Wall-clock time since the last evaluation."""
    groups: tuple[str, ...] = ("default",)
    """Names of the parameter groups."""
    early_end: str | None = None
    """Why the training ends here, before its planned length; None where it does not."""
    value: float | None = None
    """Value of the study's metric; None before it is scored, and where it is not finite."""
    verified: bool = True
    """Whether the learning rates are the recipe's, as far as is known."""
    progress: float | None = None
    """Share of the training that is done; None before it is stored."""
    rate_left: float | None = None
    """Area under the rest of the schedule, divided by the length of the whole training.

    None before it is stored, and where the schedule is not known.
    """

    @property
    def train_loss(self) -> float | None:
        """Training loss; None where it was not reported."""
        return self.values.get("train_loss")

    @property
    def val_loss(self) -> float | None:
        """Validation loss; None where it was not reported."""
        return self.values.get("val_loss")

    def scalars(self) -> dict[str, float]:
        """Values by name for a logger, with the rates, the epoch and the gradient norm.

        `lr` is the first group's rate, `lr_` + name that of each further parameter group.
        """
        scalars = {**self.values, "lr": self.lr_end[0], "epoch": self.epoch}
        for name, rate in zip(self.groups[1:], self.lr_end[1:], strict=True):
            scalars[f"lr_{name}"] = rate
        if self.grad_norm is not None:
            scalars["grad_norm"] = self.grad_norm
        return scalars


@dataclass(frozen=True, slots=True)
class SampleMeans:
    """The values of a measure on the samples of a part, of which the measure's value is the mean.

    They tell how far other samples would move it.
    """

    count: int | None = None
    """Number of samples of the part; None where not known."""
    means: tuple[float, ...] = ()
    """One value for each sample or, of a large part, the means of groups of equally many samples.

    The groups are the same for all models that are evaluated on the part.
    """
    unknown: str | None = None
    """Why there are none, in words; None where there are."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values: either the values, or why there are none."""
        if self.unknown is not None:
            return {"count": self.count, "unknown": self.unknown}
        return {"count": self.count, "means": list(self.means)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> SampleMeans:
        """The inverse of `to_json`."""
        return cls(plain.get("count"), tuple(plain.get("means", ())), plain.get("unknown"))


@dataclass(frozen=True, slots=True)
class PartScores:
    """What trained weights score on a part of the data."""

    values: Mapping[str, float]
    """The loss and metrics: `test_loss`, `test_accuracy`."""
    samples: Mapping[str, SampleMeans]
    """Of values, those on the samples."""
    count: int | None
    """Number of samples of the part; None where the values are not of one part."""
    unknown: str | None = None
    """Why `samples` lacks values, in words; None where it has all."""

    def samples_of(self, name: str) -> SampleMeans:
        """The values on the samples of which a value is the mean, or why they are not known."""
        missing = self.unknown or f"{name} is not a value of that part"
        return self.samples.get(name, SampleMeans(self.count, unknown=missing))
