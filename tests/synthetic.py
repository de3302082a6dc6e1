"""Studies made up from known laws, to see whether the findings find them."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lrsearch.analysis.families import EqualTuning, compare_optimizers, compare_schedulers
from lrsearch.analysis.forecasts import forecasts
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.cli.compose import load_settings
from lrsearch.data.spec import DataInfo
from lrsearch.evaluation import Evaluation
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.settings import Settings
from lrsearch.states import Outcome, WorkState

INFO = DataInfo(
    name="digits", fingerprint="abc123", input_shape=(1, 8, 8), n_classes=10, n_train=1078,
    n_validation=360, n_test=359, fallback_reason=None, wanted="digits", file=None,
)  # fmt: skip
RECORD: dict[str, Any] = {
    "data": INFO.to_json(),
    "versions": {"lrsearch": "0", "torch": "2"},
    "git": "0123abc",
    "created": "2026-11-20T10:00:00+00:00",
    "runs": [{"at": "2026-11-20T10:00:00+00:00"}],
}
Value = Callable[[Recipe], float]
EPOCHS = 5
"""Epochs of a whole training."""


@functools.cache
def settings_for(*overrides: str) -> Settings:
    """The settings of the small digits sweep with changes."""
    return load_settings(["+sweep=digits", "sampler=random", *overrides])


def recipe(lr: float = 0.1, batch_size: int = 32, scheduler: str = "cosine", **more: Any) -> Recipe:
    """A recipe with the rest in the middle of its ranges, but for the warm-up."""
    name = more.pop("optimizer", "sgd")
    inner = {"weight_decay": 1e-4} | ({"momentum": 0.9, "nesterov": True} if name == "sgd" else {})
    optimizer = ComponentConfig(name, inner)
    return Recipe(
        lr, batch_size, optimizer, ComponentConfig(scheduler, more.pop("arguments", {})), **more
    )


def trial(
    number: int,
    used: Recipe | None,
    value: float | None,
    outcome: str = Outcome.COMPLETE,
    **more: Any,
) -> TrialData:
    """A trial that has ended; its curve has `epochs` points that fall to the value."""
    epochs = more.pop("epochs", EPOCHS if outcome == Outcome.COMPLETE else 2)
    ended = TrialData(
        number=number, trial_id=100 + number, unit=number, seed=1000 + number,
        state=WorkState.DONE,
        outcome=outcome, value=value, reason=None, end_step=None, end_lr=None, seconds=10.0,
        owner="host/1/1.00", device="cpu", attempts=1, deaths=0, order=number + 1,
        finished_at=None, recipe=used,
        curve=_curve(used, value, epochs, epochs if outcome == Outcome.COMPLETE else EPOCHS),
    )  # fmt: skip
    return replace(ended, **more)


def _curve(
    used: Recipe | None, value: float | None, epochs: int, whole: int
) -> tuple[Evaluation, ...]:
    if used is None:
        return ()
    steps = max(1, INFO.n_train // used.batch_size)
    end = 1.0 if value is None else value
    return tuple(
        Evaluation(
            index=k, epoch=float(k), step=k * steps, value=end * (1 + 0.1 * (epochs - k)),
            values={"train_loss": end, "val_loss": end},
            lr_start=(used.lr * (1 - (k - 1) / epochs),), lr_end=(used.lr * (1 - k / epochs),),
            grad_norm=1.0, clipped=None, seconds=1.0, progress=k / max(whole, epochs),
        )
        for k in range(1, epochs + 1)
    )  # fmt: skip


def study_of(
    trials: Sequence[TrialData],
    *overrides: str,
    total: int | None = None,
    record: dict[str, Any] | None = None,
) -> StudyData:
    """A study with these trials."""
    settings = settings_for(*overrides)
    return StudyData(
        study_id=1, name=settings.study.name, state="open", stopped=None, config=settings.plain,
        record=RECORD if record is None else record, seconds=60.0,
        total=len(trials) if total is None else total, trials=tuple(trials),
    )  # fmt: skip


def lawful(used: Recipe) -> float:
    """The best rate grows as the square root of the batch size; cosine is best."""
    best = {"sgd": 0.1, "adamw": 0.002}[used.optimizer.name] * math.sqrt(used.batch_size / 32)
    handicap = {"cosine": 0.0, "linear": 0.02}.get(used.scheduler.name, 0.1)
    return 0.2 + handicap + 0.2 * math.log10(used.lr / best) ** 2


def sampled(
    count: int, *overrides: str, value: Value = lawful, noise: float = 0.002, epochs: int = 5
) -> StudyData:
    """A random search over the space; what exceeds ten times the best rate diverges."""
    rng, settings = random.Random(0), settings_for(*overrides)
    trials = []
    for number in range(count):
        used = settings.space.sample(rng)
        loss = value(used) + rng.gauss(0.0, noise)
        diverged = used.optimizer.name == "sgd" and used.lr > 0.8
        trials.append(
            trial(number, used, None, Outcome.DIVERGED, end_step=3, end_lr=used.lr, epochs=0)
            if diverged
            else trial(number, used, loss, epochs=epochs)
        )
    return study_of(trials, *overrides)


def schedulers_of(study: StudyData, searched: Sequence[str] = ()) -> EqualTuning:
    """The schedulers of a study, compared with the forecasts of its pruned trials."""
    return compare_schedulers(study, forecasts(study), searched)


def optimizers_of(study: StudyData, searched: Sequence[str] = ()) -> EqualTuning | None:
    """The optimizers of a study, likewise."""
    return compare_optimizers(study, forecasts(study), searched)
