"""The length of a training loop of the user's own, and its learning rates before it begins."""

from __future__ import annotations

import dataclasses
import math

from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.training.settings import TrainSettings
from lrsearch.tuning.trajectory import LrTrajectory

_FEWEST_PARTS = 10
"""Least number of parts of a training after which trials are compared."""
_STEPS = 1000
"""Assumed number of steps where it is not known: what is counted in shares depends little on it."""


def own_trajectory(train: TrainSettings, recipe: Recipe) -> LrTrajectory:
    """Return the trajectory of a recipe in a training that reports its epochs or its steps.

    Progress is the reported step over `train.steps` where that is set, else the reported epoch over
    `train.epochs`. Without rates where the recipe counts in what is not known: in steps where only
    the epochs are known, or the other way round.
    """
    trajectory = LrTrajectory.of(recipe, _length(train))
    if train.steps is not None:
        return dataclasses.replace(trajectory, unit="step", whole=train.steps)
    return dataclasses.replace(trajectory, unit="epoch", whole=train.epochs)


def own_parts(train: TrainSettings) -> int:
    """Return the number of equal parts of a training after which trials are compared.

    These are its epochs; tenths of it where it has fewer than ten, or is counted in steps.
    """
    epochs = 0 if train.steps is not None else round(train.epochs)
    return max(_FEWEST_PARTS, epochs)


def progress_words(train: TrainSettings) -> str:
    """Return in a line what counts as progress, and how often trials are compared."""
    parts = own_parts(train)
    counted, whole = ("epoch", train.epochs) if train.steps is None else ("step", train.steps)
    is_epoch = train.steps is None and parts == train.epochs
    return (
        f"progress: the {counted} that is reported, of train.{counted}s={whole:g}; trials are "
        f"compared after each {'epoch' if is_epoch else f'1/{parts} of it'}"
    )


def _length(train: TrainSettings) -> Length:
    """Return the length of a training as far as it is known, evaluated after every step."""
    if train.steps is not None:
        length = Length.of(steps=train.steps)
    else:
        steps_per_epoch = math.ceil(_STEPS / train.epochs)
        steps = max(1, round(train.epochs * steps_per_epoch))
        length = Length(steps, steps_per_epoch, 1, has_steps=False)
    every = math.ceil(length.steps / _STEPS)  # more moments would only take time
    return dataclasses.replace(length, steps_per_evaluation=every)
