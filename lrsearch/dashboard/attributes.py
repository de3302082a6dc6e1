"""Notes and figures as Optuna's dashboard keeps them: system attributes of a study.

Its own functions write one attribute at a time and read all of them after each: for the notes of a
thousand trials that takes minutes. Here all changes go in one transaction. What this module assumes
of the dashboard's format is tested against the dashboard's own reading.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from lrsearch.storage.optuna_internals import models
from lrsearch.storage.tables import StudyRow

Attribute = models.StudySystemAttributeModel

OWN_FIGURES = "lrsearch-"
"""Prefix of the ids of lrsearch's figures; figures with other ids are never touched."""
KEPT_BELOW = "\n\n---\n*lrsearch writes what stands above this line.*\n"
_MARK = "lrsearch:shown"
_FIGURES = "dashboard:plot_data:"
_NOTE = re.compile(r"dashboard:(\d+):note_str:")
_MOST_KEYS = 500
"""Databases take only so many values in a statement."""
_PIECE = 60_000  # characters; MySQL's texts end at 65,535 bytes

Attributes = dict[str, Any]
Changes = dict[str, Any]
"""Attributes to set; an attribute that is None is to be deleted."""


def read(session: Session, study_id: int) -> Attributes:
    """A study's notes and figures."""
    rows = session.execute(
        select(Attribute.key, Attribute.value_json).where(
            Attribute.study_id == study_id, Attribute.key.startswith("dashboard:")
        )
    )
    return {str(key): json.loads(value) for key, value in rows}


def marks(session: Session) -> dict[int, str]:
    """Return the fingerprint of each study when it was last written; see `marked`."""
    rows = session.execute(
        select(Attribute.study_id, Attribute.value_json)
        .join(StudyRow, StudyRow.study_id == Attribute.study_id)  # which the index is by
        .where(Attribute.key == _MARK)
    )
    return {int(study_id or 0): str(json.loads(value)) for study_id, value in rows}


def marked(mark: str) -> Changes:
    """Return the change that stores a study's fingerprint."""
    return {_MARK: mark}


def write(session: Session, study_id: int, changes: Changes) -> None:
    """Write changes. Raises IntegrityError if another process has just set one of them."""
    for keys in _batches(sorted(changes)):
        session.execute(
            delete(Attribute).where(Attribute.study_id == study_id, Attribute.key.in_(keys))
        )
    rows = [
        {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
        for key, value in changes.items()
        if value is not None
    ]
    if rows:
        session.execute(insert(Attribute), rows)


def note(stored: Attributes, body: str, trial_id: int | None = None) -> Changes:
    """Return the changes that make a study's or trial's note begin with `body`.

    Text that a user added below the line stays. A note without the line is not changed.
    """
    owner = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    current = _text(stored, f"{owner}note_str:")
    if current and KEPT_BELOW.strip() not in current:
        return {}
    theirs = current.partition(KEPT_BELOW.strip())[2].lstrip("\n")
    changes = _changes(stored, f"{owner}note_str:", body + KEPT_BELOW + theirs)
    version = f"{owner}note_ver"
    return {**changes, version: int(stored.get(version, 0)) + 1} if changes else {}


def old_notes(stored: Attributes, noted: Collection[int]) -> Changes:
    """Return the changes that delete the notes of trials outside `noted`, but for edited ones.

    The dashboard looks through all notes for each trial of a page: as each trial is the latest
    once, a page would otherwise take longer with the square of the trials.
    """
    changes: Changes = {}
    for trial_id in {int(match[1]) for key in stored if (match := _NOTE.match(key))}:
        owner = f"dashboard:{trial_id}:"
        text = _text(stored, f"{owner}note_str:")
        theirs = text.partition(KEPT_BELOW.strip())[2].strip()
        if trial_id not in noted and KEPT_BELOW.strip() in text and not theirs:
            changes |= {key: None for key in stored if key.startswith(owner)}
    return changes


def figures(stored: Attributes, drawn: Mapping[str, str]) -> Changes:
    """Return the changes that give the study these figures, as JSON by their ids."""
    changes: Changes = {
        key: None
        for key in stored
        if key.startswith(_FIGURES + OWN_FIGURES) and key.split(":")[2] not in drawn
    }
    for name, text in drawn.items():
        changes |= _changes(stored, f"{_FIGURES}{name}:", text)
    return changes


def _changes(stored: Attributes, prefix: str, text: str) -> Changes:
    """Return the changes that store a text as `prefix0`, `prefix1`, ...; none if it is stored."""
    if _text(stored, prefix) == text:
        return {}
    starts = range(0, len(text), _PIECE)
    pieces = {f"{prefix}{n}": text[at : at + _PIECE] for n, at in enumerate(starts)}
    changes: Changes = dict(pieces)
    while (key := f"{prefix}{len(changes)}") in stored:
        changes[key] = None  # the old text was longer
    return changes


def _text(stored: Attributes, prefix: str) -> str:
    pieces: list[str] = []
    while (key := f"{prefix}{len(pieces)}") in stored:
        pieces.append(str(stored[key]))
    return "".join(pieces)


def _batches(keys: list[str]) -> list[list[str]]:
    """Split keys into batches: databases limit the number of values in a statement."""
    return [keys[at : at + _MOST_KEYS] for at in range(0, len(keys), _MOST_KEYS)]
