"""The recipe to use, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lrsearch.analysis.confirmed import still_to_come
from lrsearch.analysis.noise import Noise, seed_noise
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.confirm.result import Confirmation
from lrsearch.settings import MetricSettings

CLOSE = 0.01
FEW = 10


@dataclass(frozen=True)
class Winner:
    """The best complete trial and the evidence for and against it."""

    metric: MetricSettings
    complete: int
    best: TrialData | None
    runner_up: TrialData | None
    close: int
    """Other trials, the runner-up among them, within 1 % of the best value."""
    equal: int
    """Other trials with the same value as the best."""
    noise: Noise | None
    """None: no recipe was trained with two seeds."""
    confirmation: Confirmation | None
    data: Mapping[str, Any] | None
    """The study's data as its record has them; None for one's own objective."""
    searched: Collection[str]
    """Stored names of all parameters that were searched."""
    to_come: str
    """Sentence on how the luck in the search will be measured."""

    @property
    def gap(self) -> float | None:
        """Lead of the best over the runner-up, at least 0."""
        if self.best is None or self.runner_up is None:
            return None
        return abs((self.best.value or 0.0) - (self.runner_up.value or 0.0))

    @property
    def is_confirmed(self) -> bool:
        """Whether fresh seeds have confirmed the best trial."""
        return self.confirmation is not None and self.confirmation.winner is not None

    @property
    def typical(self) -> float | None:
        """Standard deviation of the difference of two trainings of one recipe; None if unknown."""
        return None if self.noise is None else math.sqrt(2.0) * self.noise.deviation


def find_winner(study: StudyData) -> Winner:
    """The best trial of a study, the runner-up, and the noise where recipes were repeated."""
    ranked = study.ranked
    best = ranked[0] if ranked else None
    close = equal = 0
    if best is not None and best.value is not None:
        reach = CLOSE * abs(best.value)
        equal = sum(trial.value == best.value for trial in ranked[1:])
        close = sum(abs((trial.value or 0.0) - best.value) <= reach for trial in ranked[1:])
    return Winner(
        metric=study.metric,
        complete=len(ranked),
        best=best,
        runner_up=ranked[1] if len(ranked) > 1 else None,
        close=close,
        equal=equal,
        noise=seed_noise(ranked),
        confirmation=study.confirmation,
        data=study.record.get("data"),
        searched=study.searched,
        to_come=still_to_come(study.confirm, study.done, study.total),
    )
