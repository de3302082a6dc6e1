"""Create a study, or resume it if its configuration searches the same as before."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from lrsearch import __version__
from lrsearch.config.batches import cut_batches
from lrsearch.config.ranges import with_ranges
from lrsearch.config.storage import command_on
from lrsearch.confirm.runs import advance
from lrsearch.data.spec import DataInfo
from lrsearch.errors import UserError, in_short
from lrsearch.queue.leasing import LONGEST_LEASE
from lrsearch.queue.queue import Queue
from lrsearch.range_test.stored import add_range_test, found_ranges, try_again
from lrsearch.settings import SERVICE_KEYS, ServiceSettings, Settings
from lrsearch.space.parse_domain import type_of_numbers
from lrsearch.states import StudyState
from lrsearch.storage.database import Database, beside
from lrsearch.storage.tables import StudyRow
from lrsearch.study.index import study_row
from lrsearch.study.plan import plan_slots
from lrsearch.study.provenance import git_revision, refuse_other_versions, versions
from lrsearch.study.service import Change, put_service, recorded, service_of
from lrsearch.study.warm_start import NOTHING, WarmStart, warm_start
from lrsearch.text.hints import as_given
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import name_word

if TYPE_CHECKING:
    # Commands that only read import this module, too, and do not need Optuna.
    from lrsearch.storage.optuna_bridge import Studies

_FREE_KEYS = frozenset(
    {
        "description", "sampler", "pruner", "logger", "queue", "confirm",
        "study.n_trials", "study.timeout", "study.name",
        "study.warm_start", "study.warm_start_trials",
        *(f"study.{key}" for key in SERVICE_KEYS),
        "train.device", "train.gpus", "train.threads", "train.compile", "train.micro_batch",
        "train.checkpoint_every", "train.keep_best",
        "data.root", "data.cache", "metric.nan",
    }
)  # fmt: skip
"""Keys that may change when a study is resumed: they do not change what is searched."""
_SERVICE = ServiceSettings().stored()
"""The defaults of how workers serve a study."""
_HALTED: dict[str, str] = {
    StudyState.PAUSED: "paused",
    StudyState.STOPPED: "stopped ({})",
    StudyState.FAILED: "stopped by failures",
}
"""Words for the states of a study that is not open; `{}` is the reason."""


@dataclass(frozen=True)
class OpenStudy:
    """A study in the database that workers may serve."""

    name: str
    study_id: int
    queue: Queue
    resumed: bool
    total: int
    notes: tuple[str, ...]
    """Lines for the screen: what changed since the last run, or came from another study."""


def open_study(
    settings: Settings,
    info: DataInfo | None,
    database: Database,
    studies: Studies,
    checkpoints: str | None = None,
) -> OpenStudy:
    """Create the study with all slots of its budget, or resume it.

    `checkpoints` is their folder or URL if the user gave one. Raises UserError when the stored
    study searches something else; it names each difference and what to do, and changes nothing.
    """
    name = settings.study.name
    study_id = studies.find(name)
    row = None if study_id is None else find_row(database, study_id)
    if study_id is not None and row is None and studies.has_trials(name):
        raise UserError(
            f"study.name: {name!r} in {redacted(database.url)} was not made by lrsearch: "
            f"choose another study.name"
        )
    earlier = NOTHING
    if row is None:
        earlier = warm_start(settings, database)
        study_id = studies.create(name, settings.metric.mode, settings.metric.name)
        row = _create(settings, info, database, study_id, earlier, checkpoints)
    if row is not None:  # it existed, or another process has just created it
        return _resume(settings, info, database, studies, row, checkpoints)
    assert study_id is not None
    studies.annotate(name, _attributes(settings, info))
    queue = Queue(database.session, study_id)
    return OpenStudy(name, study_id, queue, resumed=False, total=queue.total(), notes=earlier.notes)


def find_row(database: Database, study_id: int) -> StudyRow | None:
    """Return a study's row by its id; None where it was deleted."""
    with database.session() as session:
        return session.get(StudyRow, study_id)


def load_row(database: Database, name: str) -> StudyRow:
    """Return a study's row by name. Raises UserError, which lists the existing studies."""
    with database.session() as session:
        return study_row(session, database, name)


def _create(
    settings: Settings,
    info: DataInfo | None,
    database: Database,
    study_id: int,
    earlier: WarmStart,
    checkpoints: str | None,
) -> StudyRow | None:
    """Write the study's row and all slots in one transaction.

    Returns None, or the stored row if another process was first.
    """
    slots = plan_slots(settings, earlier.parameters)
    record = {
        "data": None if info is None else info.to_json(),
        "versions": versions(),
        "git": git_revision(),
        "created": _now(),
        "runs": [_run(settings)],
        "checkpoints": checkpoints_url(database.url, checkpoints),
        "warm_start": earlier.to_json(),
        LONGEST_LEASE: settings.queue.lease,
    }
    row = StudyRow(
        study_id=study_id,
        name=settings.study.name,
        config=dict(settings.plain),
        record=record,
        needs={},
    )
    put_service(row, settings.study.stored())
    try:
        with database.session.begin() as session:
            session.add(row)
            session.flush()
            add_range_test(session, settings, study_id)
            Queue.add_to(session, study_id, slots)
    except IntegrityError:
        return find_row(database, study_id)
    return None


def _resume(
    settings: Settings,
    info: DataInfo | None,
    database: Database,
    studies: Studies,
    row: StudyRow,
    checkpoints: str | None,
) -> OpenStudy:
    refuse_other_versions(row, row.allow_versions or settings.study.allow_versions, database.url)
    settings = with_ranges(settings, found_ranges(row.record))
    stored_data = row.record["data"]
    stored_config = row.config if info is None else cut_batches(row.config, info.n_train)
    changed = differences(stored_config, settings.plain)
    if (info and info.fingerprint) != (stored_data and stored_data["fingerprint"]):
        changed.append("the data themselves: their fingerprint differs")
    if changed:
        raise UserError(
            f"the study {row.name!r} is stored with another set-up:\n"
            + "\n".join(f"  {change}" for change in changed)
            + f"\nStart a new study ({shlex.quote(f'study.name={row.name}-2')}), go back to the "
            f"old set-up, or delete what there is: "
            f"{command_on(database.url, 'delete', name_word(row.name), '--yes')}"
        )
    last, now = row.record["runs"][-1], _run(settings)
    notes = [
        f"{key} is now {now[key]['name']} (was {last[key]['name']})"
        for key in ("sampler", "pruner")
        if now[key] != last[key]
    ]
    if row.state != StudyState.OPEN:
        notes.append(f"no longer {_HALTED[row.state].format(in_short(row.stopped or ''))}")
    queue = Queue(database.session, row.study_id)
    slots = plan_slots(settings, WarmStart.from_json(row.record["warm_start"]).parameters)
    if now["sampler"] != last["sampler"]:
        queue.replan(slots)
    notes += _resized(queue, slots)
    with database.session.begin() as session:
        study = StudyRow.study_id == row.study_id
        # Lock the row: the study's range test may write to it at the same moment.
        session.execute(update(StudyRow).where(study).values(runs=StudyRow.runs + 1))
        stored = session.get_one(StudyRow, row.study_id)
        settings = with_ranges(settings, found_ranges(stored.record))
        try_again(session, row.study_id)
        record = {**stored.record, "runs": [*stored.record["runs"], now]}
        record[LONGEST_LEASE] = max(stored.record[LONGEST_LEASE], settings.queue.lease)
        if checkpoints is not None:
            record["checkpoints"] = checkpoints_url(database.url, checkpoints)
        changes, kept = _changed_service(stored, row.config, settings)
        notes += kept
        stored.config, stored.record = dict(settings.plain), recorded(record, changes)
        stored.state, stored.stopped, stored.hand_back = StudyState.OPEN, None, False
        session.flush()
        advance(session, row.study_id)
    studies.annotate(row.name, _attributes(settings, info))
    return OpenStudy(
        row.name, row.study_id, queue, resumed=True, total=queue.total(), notes=tuple(notes)
    )


def _changed_service(
    row: StudyRow, last: Mapping[str, Any], settings: Settings
) -> tuple[list[Change], list[str]]:
    """Write what the configuration says of the service of a study, where that is new.

    What `lrsearch set` has changed since the last run stays, unless the configuration has changed
    since then, too. Returns the changes, and a line for each value that stays.
    """
    wanted, before = settings.study.stored(), flat(last["study"])
    new = {k: value for k, value in wanted.items() if value != before.get(k, _SERVICE[k])}
    changes = put_service(row, new)
    now = service_of(row)
    kept = [
        f"{key} stays {as_given(now[key])}, as `lrsearch set` has it"
        for key, value in wanted.items()
        if now[key] != value
    ]
    return changes, kept


def _resized(queue: Queue, slots: Sequence[tuple[Mapping[str, Any], int]]) -> list[str]:
    """Add or remove slots to match a new plan; return lines for the screen about it."""
    before, wanted = queue.planned(), len(slots)
    if wanted > before:
        queue.add(slots[before:], first=before)
        return [f"extended from {before} to {wanted} trials"]
    if wanted == before:
        return []
    left = queue.trim(wanted)
    if left == before:
        return [f"not cut to {wanted}: {left} trials have begun"]
    begun = ", since these have begun" if left > wanted else ""
    return [f"cut from {before} trials to {left}{begun}"]


def checkpoints_url(storage_url: str, given: str | None) -> str:
    """Return the absolute folder, or the URL, of a study's checkpoints.

    If the user gave none, a folder beside the database file or, for a server, in the working
    directory.
    """
    if given is not None:
        return given if "://" in given else str(Path(given).expanduser().absolute())
    return str(beside(storage_url, "lrsearch-checkpoints"))


def differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return a line for each difference of two configurations that changes what is searched."""
    old, new = (_without_implied_types(flat(config)) for config in (stored, current))
    lines = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) and not _free(key):
            lines.append(f"{key}: was {_shown(old, key)}, is {_shown(new, key)}")
    return lines


def _without_implied_types(values: dict[str, Any]) -> dict[str, Any]:
    """Remove each `type` of a searched argument that follows from its range anyway."""
    implied = [
        key
        for key, value in values.items()
        if key.startswith(("space.model.", "space.data."))
        and (owner := key.removesuffix(".type")) != key
        and value == type_of_numbers({end: values.get(f"{owner}.{end}") for end in ("low", "high")})
    ]
    return {key: value for key, value in values.items() if key not in implied}


def _free(key: str) -> bool:
    parts = key.split(".")
    return any(".".join(parts[:k]) in _FREE_KEYS for k in range(1, len(parts) + 1))


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a configuration to one dotted key for each value."""
    values: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def _shown(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "absent"


def _run(settings: Settings) -> dict[str, Any]:
    """Return the entry of this run in the study's record."""
    return {
        "at": _now(),
        "sampler": settings.sampler.to_dict(),
        "pruner": settings.pruner.to_dict(),
        "versions": versions(),
    }


def _attributes(settings: Settings, info: DataInfo | None) -> dict[str, Any]:
    """Return the user attributes of a study, which the dashboard shows."""
    shown: dict[str, Any] = {
        "sweep": settings.sweep,
        "sampler": settings.sampler.name,
        "pruner": settings.pruner.name,
        "seed": settings.study.seed,
        "lrsearch": __version__,
    }
    if info is not None:
        shown |= {"data": info.name, "data fingerprint": info.fingerprint}
        if info.fallback_reason:
            shown["WARNING"] = fallback_warning(info)
    return shown


def fallback_warning(info: DataInfo) -> str:
    """Return the warning that other data replace those of the configuration."""
    return f"not {info.wanted}: {info.name} stand in for it ({info.fallback_reason})"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
