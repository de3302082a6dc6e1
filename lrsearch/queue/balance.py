"""`study.balance=families`: each scheduler family of the space gets the same number of epochs.

A pruned trial costs less than a whole one, so the plan cannot say beforehand whose turn it is: the
next trial goes to the family that has spent least when it is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lrsearch.settings import Settings
from lrsearch.states import WorkState
from lrsearch.storage.tables import EvaluationRow, StudyRow, TrialSlotRow

_LEAST = 0.1
"""Of a whole training: what a trial costs at least that ended before its first evaluation. Else a
family that breaks at once would take all trials that are left."""


@dataclass(frozen=True)
class FamilyBalance:
    """Whose turn it is."""

    families: Mapping[str, Mapping[str, Any]]
    """The parameters of a trial that choose each family, in the order of the space."""
    whole: float
    """Length of a whole training, in `unit`."""
    unit: str
    """`epoch`, or `step` where that is what all trainings have in common."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None where it is not asked for, or there is one family alone."""
        families = dict(
            zip(settings.space.scheduler, settings.space.grid(["scheduler"]), strict=True)
        )
        if settings.study.balance != "families" or len(families) < 2:
            return None
        train = settings.train
        if train.steps is not None:
            return cls(families, float(train.steps), "step")
        return cls(families, float(train.epochs), "epoch")

    def next(self, session: Session, study_id: int) -> Mapping[str, Any]:
        """The parameters for the next trial: those of the family that has spent least.

        Of equals the first. Trials at work, or handed back, count as whole ones. In the caller's
        transaction, which waits for all others that ask the same.
        """
        session.execute(
            select(StudyRow.study_id).where(StudyRow.study_id == study_id).with_for_update()
        ).one()
        spent = self.spent(session, study_id)
        return self.families[min(self.families, key=lambda family: spent[family])]

    def spent(self, session: Session, study_id: int) -> dict[str, float]:
        """What each family has spent."""
        furthest = session.execute(
            select(EvaluationRow.trial_id, func.max(getattr(EvaluationRow, self.unit)))
            .where(EvaluationRow.study_id == study_id)
            .group_by(EvaluationRow.trial_id)
        )
        reached = {row[0]: row[1] for row in furthest}
        spent = dict.fromkeys(self.families, 0.0)
        for trial_id, state, params, recipe in session.execute(
            select(
                TrialSlotRow.trial_id, TrialSlotRow.state, TrialSlotRow.params, TrialSlotRow.recipe
            ).where(TrialSlotRow.study_id == study_id, TrialSlotRow.trial_id.is_not(None))
        ):
            family = recipe["scheduler"]["name"] if recipe else params.get("scheduler")
            if family not in spent:
                continue  # its family is not settled yet, or no longer in the space
            cost = (
                reached.get(trial_id, _LEAST * self.whole)
                if state == WorkState.DONE
                else self.whole
            )
            spent[family] += cost
        return spent
