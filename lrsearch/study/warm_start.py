"""Warm start: the best settings of an earlier study, which a new one tries first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import select

from lrsearch.confirm.read import confirmed_first, read_confirmation
from lrsearch.errors import UserError
from lrsearch.recipe import Recipe
from lrsearch.settings import MetricSettings, Settings
from lrsearch.space.refit import refit
from lrsearch.storage.database import Database
from lrsearch.storage.tables import StudyRow
from lrsearch.study.index import no_such_study
from lrsearch.study.progress import Progress, ranked

_MOST_LINES = 5
"""Number of trials that do not fit of which a line each is shown."""


@dataclass(frozen=True)
class WarmStart:
    """Settings that a study takes from another one, as its record stores them."""

    study: str | None
    trials: tuple[int, ...]
    """Numbers of the trials of the other study, the best first."""
    parameters: tuple[Mapping[str, Any], ...]
    """Their parameters, by the stored names of this study."""
    notes: tuple[str, ...] = ()
    """Lines about what was taken and skipped, for the screen."""

    def to_json(self) -> dict[str, Any] | None:
        """Return plain values; None without another study."""
        if self.study is None:
            return None
        parameters = [dict(parameters) for parameters in self.parameters]
        return {"study": self.study, "trials": list(self.trials), "parameters": parameters}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any] | None) -> Self:
        """Read what `to_json` returned; the notes are lost."""
        if plain is None:
            return cls(None, (), ())
        return cls(plain["study"], tuple(plain["trials"]), tuple(plain["parameters"]))


NOTHING = WarmStart(None, (), ())


def warm_start(settings: Settings, database: Database) -> WarmStart:
    """Return the best complete trials of `study.warm_start` that fit the new space.

    Raises UserError where there is no such study, or it has no complete trial.
    """
    name = settings.study.warm_start
    if name is None:
        return NOTHING
    with database.session() as session:
        row = session.scalar(select(StudyRow).where(StudyRow.name == name))
        names = session.scalars(select(StudyRow.name)).all()
    if row is None:
        raise UserError(f"study.warm_start: {no_such_study(database, name, names)}")
    metric = MetricSettings(**row.config["metric"])
    with database.session() as session:
        confirmation = read_confirmation(session, row.study_id)
    trials_by_value = ranked(Progress(database.session, row.study_id).finished(), metric.mode)
    best = confirmed_first(trials_by_value, lambda trial: trial.trial, confirmation)
    if not best:
        raise UserError(f"study.warm_start: no trial of {name} has completed yet")
    trials: list[int] = []
    parameters: list[Mapping[str, Any]] = []
    skipped: list[str] = []
    for trial in best:
        if len(trials) == settings.study.warm_start_trials:
            break
        fitting, problems = refit(settings.space, Recipe.from_dict(trial.recipe or {}))
        if problems:
            skipped.append(f"trial {trial.trial} of {name} does not fit: {problems[0]}")
        elif fitting not in parameters:
            trials.append(trial.trial or 0)
            parameters.append(fitting)
    listed = ", ".join(map(str, trials))
    taken = f"tried first: trials {listed} of {name}" if trials else f"nothing of {name} fits"
    return WarmStart(name, tuple(trials), tuple(parameters), (taken, *_shortened(skipped)))


def _shortened(lines: list[str]) -> list[str]:
    left = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {left} more that do not fit"] if left > 0 else [])]
