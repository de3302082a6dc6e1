"""Commands on the studies of a database: pause, resume, stop, delete, upgrade."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from lrsearch.entry.places import read_here
from lrsearch.errors import UserError
from lrsearch.hints import unknown
from lrsearch.study.database import Database, redacted
from lrsearch.study.queue import Queue
from lrsearch.study.shelf import Shelf, StudyStatus
from lrsearch.study.tables import OPEN, RUNNING
from lrsearch.workers.here import Here


@contextmanager
def _database(arguments: Sequence[str]) -> Iterator[tuple[Database, Here, list[str]]]:
    """The database that is meant, which must be there already. Raises UserError."""
    here, names = read_here(arguments)
    database = Database(existing(here.url))
    try:
        yield database, here, names
    finally:
        database.close()


def existing(url: str) -> str:
    """The URL itself. Raises UserError where it names a file that is not there."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite" and not Path(parts.database or "").is_file():
        raise UserError(
            f"storage.url: there is no database {redacted(url)}; a sweep makes it, or give "
            f"storage.url=... of another"
        )
    return url


@contextmanager
def _study(arguments: Sequence[str]) -> Iterator[tuple[Database, Here, StudyStatus, Queue]]:
    """One study by name. Raises UserError."""
    with _database(arguments) as (database, here, names):
        studies = Shelf(database.session).statuses()
        if len(names) != 1:
            known = ", ".join(study.name for study in studies) or "none"
            raise UserError(f"name one study; there: {known}")
        found = [study for study in studies if study.name == names[0]]
        if not found:
            raise UserError(f"study {unknown(names[0], [study.name for study in studies])}")
        yield database, here, found[0], Queue(database.session, found[0].study_id)


def pause_study(arguments: Sequence[str]) -> None:
    """`pause`."""
    with _study(arguments) as (_, _, study, queue):
        queue.pause()
        print(
            f"{study.name} is paused: its workers hand {study.counts[RUNNING]} trials back\n"
            f"to go on: python -m lrsearch resume {study.name}"
        )


def resume_study(arguments: Sequence[str], retry_failed: bool) -> None:
    """`resume`."""
    with _study(arguments) as (database, _, study, queue):
        if retry_failed:
            from lrsearch.study.endings import reopen_failed

            print(f"{reopen_failed(database.session, study.study_id)} failed trials are open again")
        queue.open()
        counts = queue.counts()
        print(f"{study.name} is open: {counts[OPEN]} trials wait, {counts[RUNNING]} run")
        if counts[OPEN]:
            print(
                f"workers take them; to start one: python -m lrsearch worker --sweep {study.name}"
            )


def stop_study(arguments: Sequence[str], now: bool) -> None:
    """`stop`."""
    with _study(arguments) as (_, _, study, queue):
        queue.stop("stopped by hand", hand_back=now)
        running = study.counts[RUNNING]
        end = "are handed back" if now else "go on to their end"
        print(
            f"{study.name} is stopped: {running} running trials {end}\n"
            f"to go on: python -m lrsearch resume {study.name}"
        )


def delete_study(arguments: Sequence[str], yes: bool) -> None:
    """`delete`. Raises UserError without --yes, or while trials run."""
    with _study(arguments) as (database, here, study, queue):
        if not yes:
            raise UserError(
                f"this deletes {study.name} with {sum(study.counts.values())} trials, their "
                f"evaluations and checkpoints for ever; to do it: add --yes"
            )
        shelf = Shelf(database.session)
        if alive := shelf.running_now(study.study_id):
            raise UserError(
                f"{alive} trials of {study.name} are running: "
                f"first python -m lrsearch stop {study.name} --now"
            )
        queue.stop("being deleted", hand_back=True)
        from lrsearch.checkpoints.store import Store
        from lrsearch.study.trials import Studies

        store = Store(here.checkpoints or study.checkpoints)
        store.delete(f"{study.name}-{study.study_id}")
        shelf.delete(study.study_id)
        studies = Studies(here.url)
        studies.delete(study.name)
        studies.close()
        print(f"{study.name} is deleted; what it wrote to its outputs folder is still there")


def upgrade_tables(arguments: Sequence[str]) -> None:
    """`upgrade`."""
    from lrsearch.study.upgrade import upgrade

    here, names = read_here(arguments)
    if names:
        raise UserError(f"{names[0]!r}: upgrade is for a whole database; give storage.url=...")
    for line in upgrade(existing(here.url)):
        print(line)
