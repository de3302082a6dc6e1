"""How workers serve a study: the values in its row, how they are changed, and what was changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from lrsearch.settings import SERVICE_KEYS
from lrsearch.storage.tables import StudyRow

CHANGES = "changes"
"""Key of a study's record: the changes of these values, each with its time, the oldest first."""
_NEEDS = "needs."
_RELOADED = frozenset({"allow_versions"})
"""Keys after whose change workers that have refused the study look at it again."""


@dataclass(frozen=True)
class Change:
    """A value that was changed, as it is stored."""

    key: str
    old: Any
    new: Any


def service_of(row: StudyRow) -> dict[str, Any]:
    """Return the values in a study's row by key: the keys of `ServiceSettings.stored`."""
    return {
        key: row.needs.get(key.removeprefix(_NEEDS), [] if key == "needs.labels" else None)
        if key.startswith(_NEEDS)
        else getattr(row, key)
        for key in SERVICE_KEYS
    }


def put_service(row: StudyRow, values: Mapping[str, Any]) -> list[Change]:
    """Write values by key into a study's row; return the changes."""
    before = service_of(row)
    changes = [Change(key, before[key], new) for key, new in values.items() if new != before[key]]
    for change in changes:
        if change.key.startswith(_NEEDS):
            needs = {**row.needs, change.key.removeprefix(_NEEDS): change.new}
            row.needs = {key: value for key, value in needs.items() if value not in (None, [])}
        else:
            setattr(row, change.key, change.new)
        if change.key == "priority":
            row.turn = 0.0  # studies of each priority take turns by a time of their own
    return changes


def recorded(record: Mapping[str, Any], changes: list[Change]) -> dict[str, Any]:
    """Return a study's record with changes added to it."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    new = [{"at": at, "key": one.key, "old": one.old, "new": one.new} for one in changes]
    return {**record, CHANGES: [*record.get(CHANGES, []), *new]}


def change_service(session: Session, study_id: int, values: Mapping[str, Any]) -> list[Change]:
    """Change values by key, and write the changes into the study's record; return them."""
    # Lock the row: its record may be written to at the same moment.
    study = StudyRow.study_id == study_id
    session.execute(update(StudyRow).where(study).values(priority=StudyRow.priority))
    row = session.get_one(StudyRow, study_id, populate_existing=True)
    changes = put_service(row, values)
    row.record = recorded(row.record, changes)
    if any(change.key in _RELOADED for change in changes):
        row.runs += 1
    return changes
