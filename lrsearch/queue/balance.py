"""`study.balance=families`: give each scheduler family the same number of epochs.

A pruned trial costs less than a whole one, so turns cannot be planned beforehand: a trial goes to
the family that has spent least at the time it is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lrsearch.settings import Settings
from lrsearch.states import WorkState
from lrsearch.storage.tables import LOCK, EvaluationRow, StudyRow, TrialSlotRow

_LEAST = 0.1
"""Cost of a trial without an evaluation, as a share of a whole training.

Without it, a family whose trials fail at once would get all remaining trials.
"""


@dataclass(frozen=True)
class FamilyBalance:
    """Chooses the scheduler family of the next trial."""

    families: Mapping[str, Mapping[str, Any]]
    """The parameters of a trial that choose each family, in the order of the space."""
    whole: float
    """Length of a whole training, in `unit`."""
    unit: str
    """`epoch`, or `step` where that is what all trainings have in common."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the balance of a study; None without `families`, or with a single family."""
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
        """Return the parameters that put the next trial into the family that has spent least.

        Ties go to the first in the order of the space. Running trials, and those handed back,
        count as whole ones. Locks the study's row in the caller's transaction, so that no two
        workers choose at the same time.
        """
        session.execute(
            select(StudyRow.study_id).where(StudyRow.study_id == study_id).with_for_update(**LOCK)
        ).one()
        spent = self.spent(session, study_id)
        return self.families[min(self.families, key=lambda family: spent[family])]

    def spent(self, session: Session, study_id: int) -> dict[str, float]:
        """Return the length of training that each family has spent, in `unit`."""
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
