"""The recipe to use, and how sure that is."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrsearch.analysis.confirmed import confirmed_lines, headline, progress_words, still_to_come
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.confirm.result import Confirmation
from lrsearch.settings import MetricSettings
from lrsearch.text.formatting import number, plural

CLOSE = 0.01
FEW = 10


@dataclass(frozen=True)
class Noise:
    """How values differ between trainings of one recipe with different seeds."""

    deviation: float
    """Standard deviation, pooled over the recipes."""
    recipes: int
    trials: int


@dataclass(frozen=True)
class Winner:
    """The best complete trial and the evidence for and against it."""

    metric: MetricSettings
    complete: int
    best: TrialData | None
    runner_up: TrialData | None
    close: int
    """Other trials, the runner-up among them, within 1 % of the best value."""
    noise: Noise | None
    """None: no recipe was trained with two seeds."""
    confirmation: Confirmation | None
    data: Mapping[str, Any] | None
    """The study's data as its record has them; None for one's own objective."""
    to_come: str
    """Sentence on how the luck in the search will be measured."""

    @property
    def gap(self) -> float | None:
        """Lead of the best over the runner-up, at least 0."""
        if self.best is None or self.runner_up is None:
            return None
        return abs((self.best.value or 0.0) - (self.runner_up.value or 0.0))

    def sentences(self) -> list[str]:
        """Return the finding in plain sentences."""
        if self.best is None or self.best.recipe is None or self.best.value is None:
            return ["No trial has run to its end, so there is no recipe to recommend."]
        confirmation = self.confirmation
        if confirmation is not None and confirmation.winner is not None:
            return [
                f"The confirmed best is trial {self.best.number}, with {headline(confirmation)}: "
                f"{self.best.recipe.describe()}.",
                *confirmed_lines(confirmation, self.data),
            ]
        return self._of_search()

    def _of_search(self) -> list[str]:
        """Return what the search alone shows, without a confirmation."""
        assert self.best is not None
        assert self.best.recipe is not None
        assert self.best.value is not None
        lines = [
            f"The best of {plural(self.complete, 'complete trial')} is trial {self.best.number} "
            f"with {self.metric.name} {number(self.best.value)} at its {self.metric.at} "
            f"evaluation: {self.best.recipe.describe()}."
        ]
        if self.runner_up is None or self.runner_up.value is None or self.gap is None:
            return [*lines, "It is the only one that ran to its end: nothing to compare it with."]
        share = 100 * self.gap / abs(self.best.value) if self.best.value else None
        relative = "" if share is None else f" ({number(share, 2)} %)"
        lines.append(
            f"The runner-up, trial {self.runner_up.number}, has {number(self.runner_up.value)}: "
            f"a gap of {number(self.gap, 2)}{relative}."
        )
        if self.complete > 2:
            lines[-1] += (
                f" {self.close or 'None'} of the other {self.complete - 1} complete trials came "
                f"within 1 % of the best."
            )
        return [*lines, *self._how_sure()]

    def _how_sure(self) -> list[str]:
        if self.noise is None:
            lines = [
                "How sure this is cannot be told: each recipe was trained with one seed, so the "
                "noise between seeds is not known."
            ]
        else:
            # The difference of two values of the same noise.
            typical = self.noise.deviation * math.sqrt(2.0)
            ratio = "more than" if (self.gap or 0.0) > 2 * typical else "no more than"
            lines = [
                f"Two seeds of one recipe differ by {number(typical, 2)} (one standard deviation, "
                f"from {plural(self.noise.trials, 'trial')} of "
                f"{plural(self.noise.recipes, 'recipe')} trained more than once): "
                f"the gap is {ratio} twice that"
                + (", so the lead is likely real." if ratio == "more than" else ", so it may "
                   "well be chance.")
            ]  # fmt: skip
        if self.complete < FEW:
            lines.append(f"With {plural(self.complete, 'complete trial')} much may still change.")
        lines.append(
            "It is the best of many on the validation data: on new data expect a little less."
        )
        if self.confirmation is None:
            lines.append(self.to_come)
        elif self.confirmation.work_left:
            lines.append(f"It is not confirmed yet ({progress_words(self.confirmation)}).")
        else:
            lines.append("No candidate could be confirmed: a run of each broke on fresh seeds.")
        return lines


def find_winner(study: StudyData) -> Winner:
    """The best trial of a study, the runner-up, and the noise where recipes were repeated."""
    ranked = study.ranked
    best = ranked[0] if ranked else None
    close = 0
    if best is not None and best.value is not None:
        reach = CLOSE * abs(best.value)
        close = sum(abs((trial.value or 0.0) - best.value) <= reach for trial in ranked[1:])
    return Winner(
        metric=study.metric,
        complete=len(ranked),
        best=best,
        runner_up=ranked[1] if len(ranked) > 1 else None,
        close=close,
        noise=seed_noise(ranked),
        confirmation=study.confirmation,
        data=study.record.get("data"),
        to_come=still_to_come(study.confirm, study.done, study.total),
    )


def seed_noise(trials: tuple[TrialData, ...]) -> Noise | None:
    """The pooled standard deviation of equal recipes with different seeds; None if there are none.

    Each group of n adds n - 1 degrees of freedom.
    """
    groups: dict[str, dict[int, float]] = defaultdict(dict)
    for trial in trials:
        if trial.recipe is not None and trial.value is not None:
            key = json.dumps(trial.recipe.to_dict(), sort_keys=True)
            groups[key][trial.seed] = trial.value
    repeated = [list(values.values()) for values in groups.values() if len(values) > 1]
    if not repeated:
        return None
    squares = sum(float(np.var(values)) * len(values) for values in repeated)
    count = sum(map(len, repeated))
    return Noise(math.sqrt(squares / (count - len(repeated))), len(repeated), count)
