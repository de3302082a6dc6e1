"""Next steps of a study, when some of its work has ended or when it is reopened."""

from __future__ import annotations

from sqlalchemy.orm import Session, sessionmaker

from lrsearch.confirm.runs import advance
from lrsearch.queue.queue import set_study_state
from lrsearch.range_test.stored import stop_without_ranges, try_again
from lrsearch.states import StudyState


def follow_up(session: Session, study_id: int) -> None:
    """Take the study's next step, in the caller's transaction.

    Stop a study whose range test has failed; plan the confirmation of a search that has ended.
    """
    stop_without_ranges(session, study_id)
    advance(session, study_id)


def open_again(session_of: sessionmaker[Session], study_id: int) -> None:
    """Reopen a study that was paused or stopped, so that workers may claim its work."""
    with session_of.begin() as session:
        set_study_state(session, study_id, StudyState.OPEN, None, hand_back=False)
        try_again(session, study_id)
        advance(session, study_id)
