"""Commands on the studies of a database: pause, resume, stop, delete, upgrade."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lrsearch.cli.arguments import worker_command
from lrsearch.cli.jobs import stop_jobs
from lrsearch.cli.locations import output_folder, read_locations
from lrsearch.config.storage import command_on
from lrsearch.errors import UserError
from lrsearch.queue.queue import Queue
from lrsearch.states import WorkState
from lrsearch.storage.database import Database, existing, open_existing
from lrsearch.study.follow_up import open_again
from lrsearch.study.index import StudyIndex, StudyStatus, status_of
from lrsearch.text.formatting import plural
from lrsearch.text.shell import name_word
from lrsearch.workers.locations import Locations


@contextmanager
def _database(arguments: Sequence[str]) -> Iterator[tuple[Database, Locations, list[str]]]:
    """Open the existing database that the arguments name. Raises UserError."""
    locations, names = read_locations(arguments)
    database = open_existing(locations.url)
    try:
        yield database, locations, names
    finally:
        database.close()


@contextmanager
def _study(arguments: Sequence[str]) -> Iterator[tuple[Database, Locations, StudyStatus, Queue]]:
    """Open the database and find the one study that the arguments name. Raises UserError."""
    with _database(arguments) as (database, locations, names):
        if len(names) != 1:
            studies = StudyIndex(database.session).statuses()
            known = ", ".join(study.name for study in studies) or "none"
            raise UserError(f"name one study; there: {known}")
        study = status_of(database, names[0])
        yield database, locations, study, Queue(database.session, study.study_id)


def _is_done(study: StudyStatus, verb: str) -> bool:
    """Whether all of a study has ended; if so, print that."""
    if study.shown_state == WorkState.DONE:
        print(f"{study.name} is done: there is nothing to {verb}")
    return study.shown_state == WorkState.DONE


def pause_study(arguments: Sequence[str]) -> None:
    """Run the command `pause`."""
    with _study(arguments) as (_, locations, study, queue):
        if _is_done(study, "pause"):
            return
        queue.pause()
        running = at_work(
            study.counts[WorkState.RUNNING], study.auxiliary_counts[WorkState.RUNNING]
        )
        print(
            f"{study.name} is paused: its workers hand {running} back\n"
            f"to go on: {command_on(locations.url, 'resume', name_word(study.name))}"
        )


def resume_study(arguments: Sequence[str], retry_failed: bool) -> None:
    """Run the command `resume`."""
    with _study(arguments) as (database, locations, study, queue):
        if retry_failed:
            from lrsearch.queue.endings import reopen_failed

            again = reopen_failed(database.session, study.study_id)
            print(f"{plural(again, 'failed trial')} {'is' if again == 1 else 'are'} open again")
        open_again(database.session, study.study_id)
        counts, work = queue.counts(), queue.work()
        left = waiting(counts[WorkState.OPEN], work[WorkState.OPEN] - counts[WorkState.OPEN])
        print(f"{study.name} is open: {left}, {work[WorkState.RUNNING]} running")
        if work[WorkState.OPEN]:
            labels = study.service["needs.labels"]
            line = worker_command(study.name, locations.url, labels)
            print(f"workers take them; to start one: {line}")


def waiting(trials: int, auxiliary_runs: int) -> str:
    """The number of waiting runs: `1 trial waits`, `2 trials and 6 auxiliary runs wait`."""
    return (
        f"{at_work(trials, auxiliary_runs)} {'waits' if trials + auxiliary_runs == 1 else 'wait'}"
    )


def at_work(trials: int, auxiliary_runs: int, kind: str = "") -> str:
    """The number of runs: `1 trial`, `2 running trials and 6 running auxiliary runs`."""
    parts = [plural(trials, f"{kind}trial")] if trials or not auxiliary_runs else []
    return " and ".join(
        [*parts, *([plural(auxiliary_runs, f"{kind}auxiliary run")] if auxiliary_runs else [])]
    )


def stop_study(arguments: Sequence[str], now: bool) -> None:
    """Run the command `stop`."""
    with _study(arguments) as (database, locations, study, queue):
        if _is_done(study, "stop"):
            return
        queue.stop("stopped by hand", hand_back=now)
        if cancelled := stop_jobs(database, locations, study, now):
            print(cancelled)
        trials, auxiliary_runs = (
            study.counts[WorkState.RUNNING],
            study.auxiliary_counts[WorkState.RUNNING],
        )
        one = trials + auxiliary_runs == 1
        back, on = ("is", "goes on to its end") if one else ("are", "go on to their end")
        end = f"{back} handed back" if now else on
        print(
            f"{study.name} is stopped: {at_work(trials, auxiliary_runs, 'running ')} {end}\n"
            f"to go on: {command_on(locations.url, 'resume', name_word(study.name))}"
        )


def delete_study(arguments: Sequence[str], yes: bool, with_outputs: bool) -> None:
    """Run the command `delete`.

    Raises UserError without --yes, while trials run, or where the folder of outputs is to be
    deleted and is not there.
    """
    parent, arguments = output_folder(arguments)
    with _study(arguments) as (database, locations, study, queue):
        outputs = parent.absolute() / study.name
        if with_outputs:
            _check_outputs(outputs)
        if not yes:
            trials = plural(sum(study.counts.values()), "trial")
            folder = f", and the folder {outputs} with all that is in it," if with_outputs else ""
            raise UserError(
                f"this deletes {study.name} with {trials}, all evaluations"
                f" and checkpoints{folder} for ever; to do it: add --yes"
            )
        index = StudyIndex(database.session)
        if alive := index.running_now(study.study_id):
            are = "is" if alive == 1 else "are"
            raise UserError(
                f"{plural(alive, 'trial')} of {study.name} {are} running: "
                f"first {command_on(locations.url, 'stop', name_word(study.name), '--now')}"
            )
        queue.stop("being deleted", hand_back=True)
        if cancelled := stop_jobs(database, locations, study, now=True):
            print(cancelled)
        from lrsearch.checkpoints.store import Store
        from lrsearch.storage.optuna_bridge import Studies

        store = Store(locations.checkpoints or study.checkpoints)
        store.delete(f"{study.name}-{study.study_id}")
        index.delete(study.study_id)
        database.close()  # a command holds one connection
        studies = Studies(locations.url)
        studies.delete(study.name)
        studies.close()
        print(f"{study.name} is deleted")
        if with_outputs:
            try:
                shutil.rmtree(outputs)
            except OSError as error:
                raise UserError(f"{outputs} cannot be deleted: {error.strerror}") from error
            print(f"{outputs} is deleted")
        elif outputs.is_dir():
            print(f"what it wrote to {outputs} is still there (--outputs deletes that, too)")


def _check_outputs(folder: Path) -> None:
    """Raise UserError where a folder of outputs is not there, or is a link to another one."""
    if folder.is_symlink():
        raise UserError(f"--outputs: {folder} is a link to {folder.readlink()}: delete it yourself")
    if not folder.is_dir():
        raise UserError(
            f"--outputs: there is no folder {folder}; give output_dir=..., or leave --outputs out"
        )


def upgrade_tables(arguments: Sequence[str]) -> None:
    """Run the command `upgrade`."""
    from lrsearch.storage.upgrade import upgrade

    locations, names = read_locations(arguments)
    if names:
        raise UserError(f"{names[0]!r}: upgrade is for a whole database; give storage.url=...")
    for line in upgrade(existing(locations.url)):
        print(line)
