"""All findings of a study, in numbers and in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from lrsearch.analysis.basin import Basins, find_basins
from lrsearch.analysis.best_and_last import BestAndLast, compare_best_and_last
from lrsearch.analysis.confirmed import Confirmed
from lrsearch.analysis.edges import Edges, find_edges
from lrsearch.analysis.families import EqualTuning, compare_optimizers, compare_schedulers
from lrsearch.analysis.forecasts import forecasts
from lrsearch.analysis.frontier import Frontier, find_frontier
from lrsearch.analysis.importance import Importance, find_importance
from lrsearch.analysis.parameters import settings_of
from lrsearch.analysis.rate_ranges import range_test_of
from lrsearch.analysis.scaling import Scaling, fit_scaling
from lrsearch.analysis.sentences import say
from lrsearch.analysis.spent import Spent, count_spent
from lrsearch.analysis.study_data import StudyData
from lrsearch.analysis.verdict import Verdict, find_verdict
from lrsearch.analysis.warned import Warned, find_warned
from lrsearch.analysis.winner import Winner, find_winner
from lrsearch.range_test.result import RangeTest


@dataclass(frozen=True)
class Findings:
    """The findings of a study, in numbers."""

    warned: Warned
    verdict: Verdict
    winner: Winner
    best_and_last: BestAndLast
    schedulers: EqualTuning
    optimizers: EqualTuning | None
    """None where there is one alone."""
    basins: Basins
    scaling: Scaling
    edges: Edges
    frontier: Frontier
    importance: Importance
    spent: Spent
    range_test: RangeTest | None
    """None where the study did not begin with one."""

    def of_recipe(self) -> list[str]:
        """The sentences on the recipe to use, with those of its confirmation."""
        confirmed = (
            say(Confirmed(self.winner.confirmation, self.winner.data))
            if self.winner.confirmation is not None and self.winner.is_confirmed
            else []
        )
        return [*say(self.winner), *confirmed, *say(self.best_and_last, warnings=False)]

    def warnings(self) -> list[str]:
        """What must be seen before any number is used."""
        return warning_lines(self.warned, self.best_and_last)

    def sentences(self) -> list[str]:
        """All findings but the verdict in plain words, in the order of the report."""
        parts = (
            self.schedulers, self.optimizers, self.basins, self.scaling, self.edges,
            self.frontier, self.importance, self.spent,
        )  # fmt: skip
        ramps = [] if self.range_test is None else say(self.range_test)
        return [
            *self.warnings(),
            *self.of_recipe(),
            *(line for part in parts if part for line in say(part)),
            *(f"Range test: {line}" for line in ramps),
        ]


def warning_lines(warned: Warned, best_and_last: BestAndLast) -> list[str]:
    """What must be seen before any number is used."""
    return [*say(warned, warnings=True), *say(best_and_last, warnings=True)]


def findings(study: StudyData) -> Findings:
    """Compute all findings. Raises ConfigErrors where this version cannot read the study."""
    settings = settings_of(study)
    forecast = forecasts(study)
    scaling = fit_scaling(study, forecast)
    return Findings(
        warned=find_warned(study),
        verdict=find_verdict(study),
        winner=find_winner(study),
        best_and_last=compare_best_and_last(study, settings),
        schedulers=compare_schedulers(study, forecast, tuple(settings.space.scheduler)),
        optimizers=compare_optimizers(study, forecast, tuple(settings.space.optimizer)),
        basins=find_basins(study, scaling, forecast),
        scaling=scaling,
        edges=find_edges(study, settings),
        frontier=find_frontier(study, settings),
        importance=find_importance(study, settings),
        spent=count_spent(study, settings),
        range_test=range_test_of(study),
    )
