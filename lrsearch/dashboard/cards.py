"""What the list of studies and the lists of trials show of a sweep, beside what Optuna knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lrsearch.analysis.confirmed import headline
from lrsearch.confirm.read import read_confirmation
from lrsearch.settings import MetricSettings
from lrsearch.states import Outcome, StudyState, WorkState, in_words
from lrsearch.storage.database import Database
from lrsearch.storage.tables import StudyRow, TrialSlotRow
from lrsearch.study.index import StudyIndex, StudyStatus
from lrsearch.text.formatting import number, plural

_FINE = (StudyState.OPEN, WorkState.DONE)


@dataclass(frozen=True)
class Card:
    """The progress and the best value of a study."""

    study_id: int
    done: int
    total: int
    """Numbers of trials."""
    progress: str
    best: str

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain values."""
        return {"id": self.study_id, "done": self.done, "total": self.total,
                "lines": [self.progress, self.best]}  # fmt: skip


class Cards:
    """The cards of all studies of a database; those of studies that did not change are kept."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, Card]] = {}

    def read(self, database: Database) -> list[Card]:
        """Return the cards in the order of the studies' ids."""
        cards = {}
        for status in StudyIndex(database.session).statuses():
            mark = status.state, dict(status.counts), dict(status.auxiliary_counts)
            mark_before, card = self._known.get(status.study_id, (None, None))
            if card is None or mark != mark_before:
                card = _card(database, status)
            cards[status.study_id] = mark, card
        self._known = dict(cards)
        return [card for _, card in cards.values()]


def outcomes(database: Database, study_id: int) -> dict[int, str]:
    """Return how trials ended that are not complete, by their numbers: `Out of memory`.

    Optuna's dashboard knows of pruned and failed trials alone.
    """
    slots = TrialSlotRow
    with database.session() as session:
        rows = session.execute(
            select(slots.trial_number, slots.outcome).where(
                slots.study_id == study_id,
                slots.state == WorkState.DONE,
                slots.outcome != Outcome.COMPLETE,
            )
        )
        return {
            int(trial): in_words(outcome).capitalize()
            for trial, outcome in rows
            if trial is not None and outcome is not None
        }


def _card(database: Database, status: StudyStatus) -> Card:
    total, done = sum(status.counts.values()), status.counts[WorkState.DONE]
    running = status.counts[WorkState.RUNNING]
    parts = [f"{done} of {plural(total, 'trial')} ended"]
    if running:
        parts.append(f"{running} running")
    if status.shown_state not in _FINE:
        parts.append(status.shown_state)
    with database.session() as session:
        best = _best(session, status.study_id)
    return Card(status.study_id, done, total, ", ".join(parts), best)


def _best(session: Session, study_id: int) -> str:
    """The best trial and its value, confirmed ones before others."""
    confirmation = read_confirmation(session, study_id)
    if confirmation is not None and confirmation.winner is not None:
        return f"trial {confirmation.winner.trial}, confirmed: {headline(confirmation)}"
    config = session.scalar(select(StudyRow.config).where(StudyRow.study_id == study_id)) or {}
    metric = MetricSettings(**config["metric"])
    slots = TrialSlotRow
    by_value = slots.value.asc() if metric.mode == "min" else slots.value.desc()
    best = session.execute(
        select(slots.trial_number, slots.value)
        .where(
            slots.study_id == study_id,
            slots.outcome == Outcome.COMPLETE,
            slots.value.is_not(None),
        )
        .order_by(by_value, slots.trial_number)
        .limit(1)
    ).first()
    if best is None:
        return "no trial is complete yet"
    return f"best {metric.name} {number(best.value)} (trial {best.trial_number})"
