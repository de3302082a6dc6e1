"""Create a study of thousands of trials for `scale.py`, and time a worker's suggestion for it.

scale_study.py make URL TRIALS EVALUATIONS    creates the studies `large` and `small`
scale_study.py suggest URL                    prints what a worker's suggestions cost, as JSON
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from lrsearch.cli.compose import load_settings
from lrsearch.config.load import stored_settings
from lrsearch.data.spec import DataInfo
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.states import Outcome, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import UNIT, Studies
from lrsearch.storage.tables import EvaluationRow, StudyRow, TrialSlotRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.history import StudyHistory
from lrsearch.study.study import load_row, open_study
from lrsearch.tuning.samplers import SamplerInputs, build_sampler

INFO = DataInfo(
    name="mnist", fingerprint="0" * 64, input_shape=(1, 28, 28), n_classes=10, n_train=55_000,
    n_validation=5_000, n_test=10_000, fallback_reason=None, wanted="mnist", file=None,
)  # fmt: skip
SHARES = {
    Outcome.COMPLETE: 0.78,
    Outcome.PRUNED: 0.15,
    Outcome.DIVERGED: 0.04,
    Outcome.OUT_OF_MEMORY: 0.02,
    Outcome.FAILED: 0.008,
    Outcome.CRASHED: 0.002,
}
LARGE, SMALL = "large", "small"
OPEN_UNITS = 5
"""Number of open trial slots, for a worker to claim."""
SMALL_TRIALS = 320
"""Enough that a suggestion for the small study imports all that the large one needs."""
_BATCH = 500
_STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.FAILED: TrialState.FAIL,
    Outcome.CRASHED: TrialState.FAIL,
}


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["make", url, trials, evaluations]:
            make_study(url, SMALL, SMALL_TRIALS, 3)
            started = time.perf_counter()
            count = make_study(url, LARGE, int(trials), int(evaluations))
            seconds = time.perf_counter() - started
            print(f"{trials} trials with {count} evaluations made in {seconds:.0f} s")
        case ["suggest", url]:
            suggest(url)
        case _:
            sys.exit(__doc__)


class Chooser:
    """Draws parameters uniformly from their ranges, and records them as Optuna stores them."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self.chosen: dict[str, tuple[Any, BaseDistribution]] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        share = self._random.random()
        value = low + share * (high - low) if not log else low * (high / low) ** share
        return float(self._note(name, value, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        value = low + step * int(self._random.integers((high - low) // step + 1))
        return int(self._note(name, value, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = choices[int(self._random.integers(len(choices)))]
        return self._note(name, value, CategoricalDistribution(choices))

    def _note(self, name: str, value: Any, distribution: BaseDistribution) -> Any:
        self.chosen[name] = (value, distribution)
        return value


def make_study(
    url: str, name: str, trials: int, evaluations: int, left: int = OPEN_UNITS, *more: str
) -> int:
    """Create a study with `trials` ended trials; return its number of evaluations.

    `left` trials are open; `more` are overrides of the configuration.
    """
    settings = load_settings(
        [
            "+sweep=mnist", f"study.name={name}", f"study.n_trials={trials + left}",
            f"train.epochs={evaluations}", f"storage.url={url}", *more,
        ]
    )  # fmt: skip
    studies = Studies(url)
    database = Database(url, studies.engine)
    study = open_study(settings, INFO, database, studies)
    random = np.random.default_rng(0)
    with database.session() as session:
        units = list(
            session.scalars(
                select(TrialSlotRow.unit_id)
                .where(TrialSlotRow.study_id == study.study_id)
                .order_by(TrialSlotRow.number)
                .limit(trials)
            )
        )
    count = 0
    for first in range(0, trials, _BATCH):
        with database.session.begin() as session:
            made = [
                made_trial(settings, random, number, evaluations)
                for number in range(first, min(first + _BATCH, trials))
            ]
            count += write_trials(session, study.study_id, units[first : first + _BATCH], made)
    with database.session.begin() as session:
        session.execute(
            update(StudyRow)
            .where(StudyRow.study_id == study.study_id)
            .values(finished=trials, seconds=60.0 * trials)
        )
    studies.close()
    return count


@dataclass(frozen=True)
class Made:
    """A trial that has ended."""

    number: int
    recipe: Recipe
    chosen: Mapping[str, tuple[Any, BaseDistribution]]
    outcome: str
    values: np.ndarray
    """Validation losses."""
    rates: np.ndarray
    """Learning rates at both ends of each evaluation of a whole trial: one more than these."""
    steps: int
    """Steps per evaluation."""

    @property
    def has_diverged(self) -> bool:
        return self.outcome == Outcome.DIVERGED

    @property
    def reason(self) -> str | None:
        went_well = self.outcome in (Outcome.COMPLETE, Outcome.PRUNED)
        return None if went_well else f"it {self.outcome}"


def made_trial(
    settings: Settings, random: np.random.Generator, number: int, evaluations: int
) -> Made:
    """Simulate a trial whose curve falls to a value that depends on its rate, with noise."""
    chooser = Chooser(random)
    recipe = settings.space.suggest(chooser)
    best = 0.05 if recipe.optimizer.name == "sgd" else 0.002
    final = 0.05 + 0.1 * math.log10(recipe.lr / best) ** 2 + 0.02 * random.random()
    outcome = str(random.choice(list(SHARES), p=list(SHARES.values())))
    length = evaluations
    if outcome != Outcome.COMPLETE:
        length = int(random.integers(evaluations // 5, max(evaluations // 2, 2)))
    if outcome == Outcome.OUT_OF_MEMORY:
        length = 0
    over = np.arange(1, length + 1) / evaluations
    noise = 1 + 0.05 * random.normal(size=length)
    values = (final + 2.0 * np.exp(-6 * over)) * noise
    return Made(number, recipe, chooser.chosen, outcome, values,
                recipe.lr * factors(recipe, evaluations), max(1, INFO.n_train // recipe.batch_size),
                )  # fmt: skip


def factors(recipe: Recipe, evaluations: int) -> np.ndarray:
    """Return the schedule as a factor of its peak, roughly in the shape of its scheduler."""
    over = np.linspace(0, 1, evaluations + 1)
    shapes = {
        "constant": np.ones_like(over),
        "step": 0.1 ** np.floor(3 * over),
        "cosine": 0.5 * (1 + np.cos(np.pi * over)),
        "linear": 1 - over,
        "one_cycle": np.minimum(over / 0.3, (1 - over) / 0.7),
    }
    return np.asarray(np.maximum(shapes.get(recipe.scheduler.name, 1 - 0.9 * over), 1e-3))


def write_trials(
    session: Session, study_id: int, units: Sequence[int], made: Sequence[Made]
) -> int:
    """Insert trials into Optuna's and lrsearch's tables; return the number of evaluations."""
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    session.execute(
        insert(models.TrialModel),
        [
            {
                "study_id": study_id, "number": one.number,
                "state": _STATES.get(one.outcome, TrialState.PRUNED),
            }
            for one in made
        ],
    )  # fmt: skip
    ids = dict(
        session.execute(
            select(models.TrialModel.number, models.TrialModel.trial_id).where(
                models.TrialModel.study_id == study_id,
                models.TrialModel.number >= made[0].number,
            )
        ).all()
    )
    session.execute(
        update(TrialSlotRow),
        [
            {
                "unit_id": unit, "state": WorkState.DONE, "outcome": one.outcome, "attempts": 1,
                "owner": f"host{one.number % 8}/{one.number % 64}/1.00", "device": "cpu",
                "trial_id": ids[one.number], "trial_number": one.number,
                "recipe": one.recipe.to_dict(), "finish_order": one.number + 1, "seconds": 60.0,
                "value": float(one.values[-1]) if len(one.values) else None,
                "reason": one.reason,
                "end_step": len(one.values) * one.steps if one.has_diverged else None,
                "end_lr": one.recipe.lr if one.has_diverged else None,
                "finished_at": begun + timedelta(minutes=one.number),
            }
            for unit, one in zip(units, made, strict=True)
        ],
    )  # fmt: skip
    tables: dict[Any, list[dict[str, Any]]] = {
        models.TrialParamModel: [], models.TrialUserAttributeModel: [],
        models.TrialSystemAttributeModel: [], models.TrialValueModel: [],
        models.TrialIntermediateValueModel: [], EvaluationRow: [],
    }  # fmt: skip
    for one in made:
        for table, rows in rows_of(study_id, ids[one.number], one):
            tables[table] += rows
    for table, rows in tables.items():
        if rows:
            session.execute(insert(table), rows)
    return len(tables[EvaluationRow])


def rows_of(study_id: int, trial_id: int, one: Made) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Return the rows of one trial by table, as a worker writes them."""
    yield models.TrialParamModel, [
        {
            "trial_id": trial_id, "param_name": name,
            "param_value": distribution.to_internal_repr(value),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, (value, distribution) in one.chosen.items()
    ]  # fmt: skip
    attributes = {
        UNIT: one.number, "recipe": one.recipe.describe(), "seed": one.number,
        "optimizer": one.recipe.optimizer.name, "scheduler": one.recipe.scheduler.name,
        "peak lr": one.recipe.lr, "batch size": one.recipe.batch_size, "status": one.outcome,
        "seconds": 60.0, "epochs": float(len(one.values)), "final lr": float(one.rates[-1]),
    }  # fmt: skip
    yield (
        models.TrialUserAttributeModel,
        [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            for key, value in attributes.items()
        ],
    )
    works = -1.0 if one.outcome in (Outcome.COMPLETE, Outcome.PRUNED) else 1.0
    yield (
        models.TrialSystemAttributeModel,
        [
            {"trial_id": trial_id, "key": "constraints:works", "value_json": json.dumps(works)},
        ],
    )
    finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    if len(one.values) and one.outcome not in (Outcome.FAILED, Outcome.CRASHED):
        yield models.TrialValueModel, [
            {
                "trial_id": trial_id, "objective": 0, "value": float(one.values[-1]),
                "value_type": models.TrialValueModel.TrialValueType.FINITE,
            }
        ]  # fmt: skip
    yield models.TrialIntermediateValueModel, [
        {
            "trial_id": trial_id, "step": k + 1, "intermediate_value": float(value),
            "intermediate_value_type": finite,
        }
        for k, value in enumerate(one.values)
    ]  # fmt: skip
    whole = len(one.rates) - 1
    left = [float(one.rates[k + 1 :].sum() / whole) for k in range(whole)]
    known = one.recipe.scheduler.name != "plateau"
    yield EvaluationRow, [
        {
            "trial_id": trial_id, "study_id": study_id, "step": (k + 1) * one.steps,
            "evaluation": k + 1, "value": float(value), "complete": one.outcome == Outcome.COMPLETE,
            "bracket": None, "moment": k + 1, "progress": (k + 1) / whole,
            "rate_left": left[k] if known else None, "epoch": float(k + 1),
            "train_loss": 0.9 * float(value), "val_loss": float(value),
            "lr_start": float(one.rates[k]), "lr_end": float(one.rates[k + 1]), "grad_norm": 1.0,
            "seconds": 1.2, "metrics": {"val_accuracy": 1 / (1 + float(value))},
        }
        for k, value in enumerate(one.values)
    ]  # fmt: skip


def suggest(url: str) -> None:
    """Print the time of a worker's first two suggestions, from claim to training, as JSON.

    One for the small study is made before, so that imports are not timed.
    """
    import torch  # noqa: F401 - as in a worker: its memory counts

    studies = Studies(url)
    database = Database(url, studies.engine)
    suggestion(database, studies, SMALL)
    cpu = time.process_time()
    first = suggestion(database, studies, LARGE)
    cpu = time.process_time() - cpu
    second = suggestion(database, studies, LARGE)
    studies.close()
    # Its own count: unloading torch takes more for a moment, when the process is at its end.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    note = f"{cpu:.2f} s of processor for the first; the second {second:.2f} s"
    print(json.dumps({"seconds": first, "megabytes": peak, "note": note}))


def suggestion(database: Database, studies: Studies, name: str) -> float:
    """Claim a trial slot and choose its parameters; return the seconds until it could train."""
    row = load_row(database, name)
    settings = stored_settings(row.config)
    claims = TrialClaims(
        database.session, row.study_id, "somebody/1/1.00", follow_up, settings.queue
    )
    started = time.perf_counter()
    claim = claims.claim(take_over=False)
    assert claim is not None, "a trial slot is open"
    history = StudyHistory(database.session, row.study_id, settings.metric.mode)
    inputs = SamplerInputs(settings.space, history, claim.params, settings.study.seed, claim.seed)
    sampler = build_sampler(settings.sampler, inputs)
    suggestions = studies.suggestions(name, claim.trial_id, sampler, claim.params)
    recipe = settings.space.suggest(suggestions)
    claims.started(claim, suggestions.chosen, recipe.to_dict(), "cpu", {})
    return time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1:])
