"""Plan of a range test: the ramps that cost no more than one trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lrsearch.errors import UserError
from lrsearch.settings import Settings

LOW, HIGH = 1e-6, 10.0
"""Learning rates between which a ramp rises."""
STEPS = 100
"""Largest number of steps of a ramp."""
_ENOUGH_STEPS = 60
"""Steps of a ramp below which the plan has fewer seeds or batch sizes instead."""
_LEAST_STEPS = 25
"""Steps of a ramp below which there is no range test."""
_SEEDS = 3
"""Largest number of seeds for each optimizer and batch size."""


@dataclass(frozen=True)
class RampPlan:
    """Ramps for each optimizer, batch size and seed."""

    optimizers: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    """The smallest, middle and largest of the space; the middle alone where a trial is short.

    Rates for other sizes are taken to lie between those of their neighbours.
    """
    seeds: int
    steps: int
    """Largest number of steps of each ramp: one that diverges ends early."""
    trial_samples: int
    """Number of samples that one trial of the middle batch size trains on, over all epochs."""

    @property
    def ramps(self) -> int:
        """Number of ramps."""
        return len(self.optimizers) * len(self.batch_sizes) * self.seeds

    @property
    def share(self) -> float:
        """Largest number of samples that they train on, as a share of those of a trial."""
        per_step = len(self.optimizers) * self.seeds * sum(self.batch_sizes)
        return per_step * self.steps / self.trial_samples


def plan_ramps(settings: Settings, n_train: int | None, optimizers: Sequence[str]) -> RampPlan:
    """Return the largest plan that costs no more than one trial, in steps and in samples.

    Where not all fits, the seeds are reduced first, then the batch sizes, then the steps. Raises
    UserError where not even the smallest plan fits.
    """
    sizes, middle = _sizes(settings, n_train)
    trial = settings.train.length(middle, n_train)
    trial_samples = trial.steps * middle
    for chosen, seeds, least in (
        (sizes, _SEEDS, _ENOUGH_STEPS),
        (sizes, _SEEDS - 1, _ENOUGH_STEPS),
        ((middle,), _SEEDS - 1, _ENOUGH_STEPS),
        ((middle,), 1, _LEAST_STEPS),
    ):
        each = len(optimizers) * seeds
        affordable = min(trial_samples // (each * sum(chosen)), trial.steps // (each * len(chosen)))
        if affordable >= least:
            steps = min(STEPS, affordable)
            return RampPlan(tuple(optimizers), chosen, seeds, steps, trial_samples)
    needed = len(optimizers) * _LEAST_STEPS
    longer = f"train.epochs={math.ceil(needed / trial.steps_per_epoch)}"
    if settings.train.steps is not None:
        longer = f"train.steps={needed}"
    raise UserError(
        f"a range test takes at least {needed} steps here ({_LEAST_STEPS} an optimizer), and may "
        f"take no more than one trial, which has {trial.steps} at batch size {middle}: train "
        f"longer ({longer}), or give the learning rate a range, such as "
        f"{{low: 1e-3, high: 1.0, log: true}}"
    )


def _sizes(settings: Settings, n_train: int | None) -> tuple[tuple[int, ...], int]:
    """Return the smallest, the middle and the largest batch size, each once; and the middle one.

    No batch is larger than the `n_train` training samples.
    """
    most = math.inf if n_train is None else n_train
    sizes = map(int, settings.space.shared["batch_size"].grid())
    known = sorted({int(min(size, most)) for size in sizes})
    centre = math.log(known[0] * known[-1]) / 2
    middle = min(known, key=lambda size: abs(math.log(size) - centre))
    return tuple(sorted({known[0], middle, known[-1]})), middle
