"""All findings of a study, in numbers and in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lrsearch.analysis.basin import Basins, find_basins
from lrsearch.analysis.edges import Edges, find_edges
from lrsearch.analysis.families import Families, compare_families
from lrsearch.analysis.frontier import Frontier, find_frontier
from lrsearch.analysis.importance import Importance, find_importance
from lrsearch.analysis.parameters import settings_of
from lrsearch.analysis.rate_ranges import range_test_of, sentences
from lrsearch.analysis.scaling import Scaling, fit_scaling
from lrsearch.analysis.sentences import TABLES, say
from lrsearch.analysis.spent import Spent, count_spent
from lrsearch.analysis.study_data import StudyData
from lrsearch.analysis.winner import Winner, find_winner
from lrsearch.data.spec import DataInfo
from lrsearch.range_test.result import RangeTest
from lrsearch.study.study import fallback_warning
from lrsearch.text.formatting import plural


@dataclass(frozen=True)
class Findings:
    """The findings of a study, each with its own `sentences()`."""

    warning: str | None
    """Warning that other data than the configured ones were used; None if they were not."""
    warned: str | None
    """Which trials have warnings, such as of learning rates; None if none has."""
    winner: Winner
    families: Families
    basins: Basins
    scaling: Scaling
    edges: Edges
    frontier: Frontier
    importance: Importance
    spent: Spent
    range_test: RangeTest | None
    """None where the study did not begin with one."""

    def sentences(self) -> list[str]:
        """All findings in plain words, in the order of the report."""
        parts = (
            self.winner, self.families, self.basins, self.scaling, self.edges, self.frontier,
            self.importance, self.spent,
        )  # fmt: skip
        first = [f"WARNING: {warning}." for warning in (self.warning, self.warned) if warning]
        ramps = (
            []
            if self.range_test is None
            else [f"Range test: {line}" for line in sentences(self.range_test)]
        )
        return [*first, *(line for part in parts for line in _said(part)), *ramps]


def findings(study: StudyData) -> Findings:
    """Compute all findings. Raises ConfigErrors where this version cannot read the study."""
    settings = settings_of(study)
    return Findings(
        warning=stand_in_warning(study),
        warned=warned_trials(study),
        winner=find_winner(study),
        families=compare_families(study, tuple(settings.space.scheduler)),
        basins=find_basins(study),
        scaling=fit_scaling(study),
        edges=find_edges(study, settings),
        frontier=find_frontier(study, settings),
        importance=find_importance(study, settings),
        spent=count_spent(study, settings),
        range_test=range_test_of(study),
    )


def warned_trials(study: StudyData) -> str | None:
    """Return which trials have a warning of their own, with one of them; else None."""
    warned = [trial for trial in study.trials if trial.warning]
    if not warned:
        return None
    best = study.ranked[0] if study.ranked else None
    first = min(warned, key=lambda trial: (trial is not best, trial.number))
    has = "has a warning" if len(warned) == 1 else "have warnings"
    line = " ".join(str(first.warning).split())
    return f"{plural(len(warned), 'trial')} {has}; trial {first.number}: {line}"


def stand_in_warning(study: StudyData) -> str | None:
    """Return a warning if other data than the configured ones were used; else None."""
    data = study.record.get("data")
    if not data or not data.get("fallback_reason"):
        return None
    return fallback_warning(DataInfo.from_json(data))


def _said(finding: Any) -> list[str]:
    """Return the sentences of a finding, of which some still have them as a method."""
    lines: list[str] = say(finding) if type(finding) in TABLES else finding.sentences()
    return lines
