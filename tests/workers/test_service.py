"""A worker that serves whatever studies a database has."""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import local_worker
import pytest
import torch
from local_worker import URL, own_lines, serve
from sqlalchemy import update

from lrsearch.analysis.study_data import read_study
from lrsearch.errors import UserError
from lrsearch.objectives.base import Objective
from lrsearch.queue.jobs import VARIABLE, Jobs
from lrsearch.queue.leasing import Orders
from lrsearch.queue.owners import host_name, owner_name
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.settings import QueueSettings, Settings
from lrsearch.states import WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.sqlite import DatabaseReplaced
from lrsearch.storage.tables import StudyRow, TrialSlotRow
from lrsearch.study.follow_up import follow_up, open_again
from lrsearch.study.index import StudyIndex
from lrsearch.study.progress import Progress
from lrsearch.study.service import change_service
from lrsearch.study.study import load_row
from lrsearch.workers import service
from lrsearch.workers.abilities import LABELS
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.locations import Locations
from lrsearch.workers.reporter import Outbox
from lrsearch.workers.stop import Stop

QUICK = ("+sweep=digits", "train.epochs=2", "pruner=none", "sampler=random")
Submit = Callable[..., int]


@pytest.fixture
def database(own_folder: Path) -> Iterator[Database]:
    database = Database(URL)
    yield database
    database.close()


@pytest.fixture
def submit(database: Database) -> Submit:
    """Stores a sweep of two trials; its id."""

    def store(name: str, *overrides: str) -> int:
        named = f"study.name={name}"
        return local_worker.submit(*QUICK, "study.n_trials=2", named, *overrides).study_id

    return store


def ends(database: Database, study_id: int) -> list[str]:
    """How its trials ended, in the order of their ends."""
    return [one.outcome for one in Progress(database.session, study_id).finished()]


def test_studies_are_served_by_priority_and_then_in_turn(
    database: Database, submit: Submit
) -> None:
    ids = [submit("old"), submit("new"), submit("urgent", "study.priority=3")]
    serve()
    with database.session() as session:
        times = [
            session.query(TrialSlotRow.finished_at).filter_by(study_id=one).order_by("number").all()
            for one in ids
        ]
    assert all(ends(database, one) == ["complete"] * 2 for one in ids)
    old, new, urgent = ([moment for (moment,) in one] for one in times)
    assert max(urgent) <= min(*old, *new)
    assert min(old) <= max(new)
    assert min(new) <= max(old)


@pytest.mark.parametrize("until_empty", [True, False])
def test_a_worker_whose_database_was_replaced_ends_and_leaves_the_new_one_as_it_is(
    submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until_empty: bool
) -> None:
    submit("lost")
    renewed = []

    def renew(self: Outbox, *arguments: Any) -> Orders:
        if not renewed:  # the first word of a trial: meanwhile the file is another one
            for name in ("lrsearch.db", "lrsearch.db-wal", "lrsearch.db-shm"):
                (tmp_path / name).unlink(missing_ok=True)
            renewed.append(submit("another"))
        return flush(self, *arguments)

    flush = Outbox.flush
    monkeypatch.setattr(Outbox, "flush", renew)
    with pytest.raises(DatabaseReplaced, match="another file was put in its place"):
        serve(until_empty=until_empty)
    new = Database(URL)
    assert ends(new, renewed[0]) == []
    assert Queue(new.session, renewed[0]).counts()[WorkState.OPEN] == 2
    new.close()


def test_a_study_of_another_torch_is_left_alone_until_it_allows_that(
    database: Database, submit: Submit
) -> None:
    study_id = submit("older", "study.n_trials=1")
    row = load_row(database, "older")
    versions = {**row.record["versions"], "torch": "1.13.1"}

    def change(**values: Any) -> None:
        with database.session.begin() as session:
            session.execute(update(StudyRow).values(runs=StudyRow.runs + 1, **values))

    change(record={**row.record, "versions": versions})
    assert serve() == ExitCode.REFUSED
    (status,) = StudyIndex(database.session).statuses()
    (reason,) = status.refusals.values()
    assert "was created with torch 1.13" in reason
    with pytest.raises(UserError, match=r"torch 1\.13"):
        submit("older", "study.n_trials=2")
    change(allow_versions=True)
    assert serve() == ExitCode.DONE
    assert ends(database, study_id) == ["complete"]
    assert StudyIndex(database.session).statuses()[0].refusals == {}


def test_one_study_alone_can_be_served(database: Database, submit: Submit) -> None:
    one, other = submit("one"), submit("other")
    serve("other")
    assert (ends(database, one), ends(database, other)) == ([], ["complete"] * 2)


def test_a_study_that_cannot_be_served_is_left_alone_with_the_reason(
    database: Database, submit: Submit, tmp_path: Path
) -> None:
    code = tmp_path / "lost_model.py"
    code.write_text("from lrsearch.models.mlp import MLP as Net\n")
    lost = submit("lost", "model._target_=lost_model.Net", "~model.hidden", "study.priority=9")
    fine = submit("fine")
    code.unlink()
    sys.modules.pop("lost_model")
    serve()
    assert (ends(database, lost), ends(database, fine)) == ([], ["complete"] * 2)
    (status, _) = StudyIndex(database.session).statuses()
    ((host, reason),) = status.refusals.items()
    assert host
    assert "lost_model" in reason
    assert serve("lost") == ExitCode.REFUSED


def test_a_worker_takes_nothing_of_a_study_whose_needs_it_lacks(
    database: Database,
    submit: Submit,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("lrsearch.workers.abilities.smallest_gpu", lambda: None)
    Queue(database.session, submit("paused")).pause()
    labelled = submit("labelled", "study.needs.labels=[a100]")
    large = submit("large", "study.needs.gpu_memory=40", "study.priority=2")
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        assert serve() == ExitCode.REFUSED
    assert (ends(database, labelled), ends(database, large)) == ([], [])
    last = own_lines(caplog)[-1]
    assert "large cannot be served on this machine: it needs a GPU of 40 GB" in last
    assert last.index("large cannot") < last.index("paused is paused")
    monkeypatch.setenv(LABELS, "a100,fast")
    assert serve() == ExitCode.REFUSED
    assert (ends(database, labelled), ends(database, large)) == (["complete"] * 2, [])
    with database.session.begin() as session:
        change_service(session, large, {"needs.gpu_memory": None})
    assert serve() == ExitCode.DONE
    assert ends(database, large) == ["complete"] * 2


def test_a_study_with_other_data_is_left_alone(database: Database, submit: Submit) -> None:
    study_id = submit("other-data")
    with database.session.begin() as session:
        record = session.get_one(StudyRow, study_id).record
        data = {**record["data"], "fingerprint": "0" * 64, "file": None}
        session.execute(update(StudyRow).values(record={**record, "data": data}))
    serve()
    assert ends(database, study_id) == []
    (status,) = StudyIndex(database.session).statuses()
    assert "not trained on two data sets" in next(iter(status.refusals.values()))


def test_a_paused_study_is_handed_back_and_goes_on_later(
    database: Database, submit: Submit
) -> None:
    study_id = submit("later")
    queue = Queue(database.session, study_id)
    queue.pause()
    serve()
    assert ends(database, study_id) == []
    open_again(database.session, queue.study_id)
    serve()
    assert ends(database, study_id) == ["complete"] * 2


def test_the_log_says_of_what_is_not_done_why_it_is_left(
    database: Database, submit: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    Queue(database.session, submit("later")).pause()
    submit("fine")
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        serve()
    paused = "later is paused; to go on: python -m lrsearch resume later"
    assert own_lines(caplog)[-1] == f"nothing is left to do; {paused}"
    caplog.clear()
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        serve(until_empty=False, stop_after=2)
    assert f"waiting for work; {paused}" in own_lines(caplog)


def test_a_study_whose_time_is_up_is_stopped_by_whoever_notices(
    database: Database, submit: Submit
) -> None:
    study_id = submit("timed", "study.timeout=100", "train.epochs=100000", "queue.lease=1")
    with database.session.begin() as session:
        session.execute(update(StudyRow).values(seconds=101.0))
    serve()  # ends within a beat of its lease
    assert ends(database, study_id) == []
    (status,) = StudyIndex(database.session).statuses()
    assert (status.state, status.counts["running"]) == ("stopped", 0)
    assert "study.timeout=100 s is up" in str(status.stopped)


def test_the_log_says_what_is_served_begun_and_ended(
    submit: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    submit("told", "confirm.top=2", "confirm.seeds=2")
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        serve()
    said = own_lines(caplog)
    assert said[:2] == ["serving all studies of sqlite:///lrsearch.db", "told: cpu"]
    begun, ended = said[2:4]
    assert re.fullmatch(r"told, trial 0: \w+\(.*\) lr=.* batch=.*", begun)
    assert re.fullmatch(r"told, trial 0: complete, val_loss \d.*, after \d+\.\ds", ended)
    assert re.fullmatch(r"told, trial \d on fresh seed \d+: begins", said[6])
    assert re.fullmatch(r"told, test of the winner: complete, test_loss \d.*", said[-2])
    assert said[-1] == "nothing is left to do"


def test_the_log_says_what_was_handed_back_and_who_goes_on(
    submit: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    submit("halved", "study.n_trials=1")
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        serve(stop_after=10)
        serve()
    said = own_lines(caplog)
    again = [line for line in said if line.startswith("halved, trial 0 (attempt 2): ")]
    order = ["halved, trial 0: handed back", "told to stop", *again, "nothing is left to do"]
    assert [line for line in said if line in order] == order
    assert len(again) == 1


def test_a_database_out_of_reach_is_told_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/x"
    told_to_stop = Stop(lambda: True, wait=lambda seconds: True)
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        code = service.serve(Locations(url), Assignment(until_empty=True), told_to_stop)
    assert code == ExitCode.HANDED_BACK
    (line,) = own_lines(caplog)
    assert "waiting up to 30m00s for it" in line
    assert "Connection refused" in line
    assert "hunter2" not in line


def test_a_study_that_is_not_there_is_named(database: Database) -> None:
    with pytest.raises(UserError, match="no study 'nowhere'"):
        serve("nowhere")


def test_the_stored_configuration_is_what_is_served(database: Database, submit: Submit) -> None:
    submit("stored", "train.epochs=1")
    assert load_row(database, "stored").config["train"]["epochs"] == 1
    serve()
    assert [len(trial.curve) for trial in read_study(database, "stored").trials] == [1, 1]


def test_a_module_that_raises_anything_leaves_its_study_alone(
    database: Database, submit: Submit, tmp_path: Path
) -> None:
    name = "interrupts"
    code = tmp_path / f"{name}.py"
    code.write_text("from lrsearch.models.mlp import MLP as Net\n")
    broken = submit("broken", f"model._target_={name}.Net", "~model.hidden", "study.priority=9")
    fine = submit("fine")
    code.write_text("raise KeyboardInterrupt\n")
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    serve()
    assert (ends(database, broken), ends(database, fine)) == ([], ["complete"] * 2)
    (status, _) = StudyIndex(database.session).statuses()
    assert "KeyboardInterrupt" in next(iter(status.refusals.values()))


def test_what_a_host_has_against_a_study_that_was_deleted_is_forgotten(either_url: str) -> None:
    database = Database(either_url)
    index = StudyIndex(database.session)
    index.refuse(17, "host", "its code is missing")
    assert index.statuses() == []
    database.close()


# What a worker loads

THREADS = """
import torch

def train(trial):
    trial.report(1, val_loss=torch.get_num_threads())
"""


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the studies that were loaded, in order."""
    names: list[str] = []
    build = service.build_objective

    def counted(settings: Settings, *arguments: Any, **named: Any) -> Objective:
        names.append(settings.study.name)
        return build(settings, *arguments, **named)

    monkeypatch.setattr(service, "build_objective", counted)
    return names


def test_nothing_is_loaded_where_nothing_can_be_claimed(
    database: Database, submit: Submit, loads: list[str]
) -> None:
    ids = [submit("one", "study.n_trials=1"), submit("two", "study.n_trials=1")]
    for study_id in ids:
        held(database, study_id, "another")
    serve(stop_after=20)
    assert loads == []
    submit("three")
    serve("three")
    assert loads == ["three"]


def test_a_study_is_kept_loaded_while_others_are_served(
    database: Database, submit: Submit, loads: list[str], tmp_path: Path
) -> None:
    (tmp_path / "counts_threads.py").write_text(THREADS)
    importlib.invalidate_caches()
    before = torch.get_num_threads()
    own = ("objective._target_=counts_threads.train",)
    old = submit("old", *own, "train.threads=1")
    urgent: list[int] = []

    def submit_another() -> bool:
        if len(ends(database, old)) == 1 and not urgent:
            urgent.append(submit("new", *own, "train.threads=2", "study.priority=1"))
        return False

    serve(stop_when=submit_another)
    torch.set_num_threads(before)
    assert loads == ["old", "new"]
    values = [
        [trial.value for trial in Progress(database.session, study_id).finished()]
        for study_id in (old, *urgent)
    ]
    assert values == [[1.0, 1.0], [2.0, 2.0]]


# How a worker ends


def test_the_exit_code_says_whether_work_is_left_and_for_whom(
    database: Database, submit: Submit, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert serve() == ExitCode.DONE
    code = tmp_path / "gone_model.py"
    code.write_text("from lrsearch.models.mlp import MLP as Net\n")
    submit("gone", "model._target_=gone_model.Net", "~model.hidden")
    submit("fine")
    code.unlink()
    sys.modules.pop("gone_model")
    assert serve(stop_after=10) == ExitCode.HANDED_BACK
    assert serve("fine") == ExitCode.DONE
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        assert serve() == ExitCode.REFUSED
    last = own_lines(caplog)[-1]
    assert last.startswith("nothing is left that this machine can do; gone cannot be served")
    assert "gone_model" in last
    Queue(database.session, load_row(database, "gone").study_id).pause()
    assert serve(until_empty=False, stop_after=0) == ExitCode.DONE


def test_several_studies_can_be_named(database: Database, submit: Submit) -> None:
    ids = [submit(name) for name in ("one", "two", "three")]
    serve("three", "one")
    assert [len(ends(database, one)) for one in ids] == [2, 0, 2]


def test_a_worker_in_a_job_writes_which_process_it_is(
    database: Database, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, study_id = submit("other"), submit("one")
    Jobs(database.session, study_id, "slurm").add({"7_1": None, "7_2": None})
    monkeypatch.setenv(VARIABLE, "slurm/7_2")
    serve("one")
    (first, second) = Jobs(database.session, study_id, "slurm").rows()
    assert (first.owner, first.host, first.started_at) == (None, None, None)
    assert (second.owner, second.host) == (owner_name(), host_name())
    assert second.started_at is not None
    assert Jobs(database.session, others, "slurm").rows() == []


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of this process are in a job of a cluster."""
    monkeypatch.setenv(VARIABLE, "slurm/7_2")


def held(database: Database, study_id: int, *owners: str) -> None:
    """Others have claimed trials."""
    for owner in owners:
        name, session = f"{owner}:1:2/3/4", database.session
        claims = TrialClaims(session, study_id, name, follow_up, QueueSettings())
        assert claims.claim(take_over=False) is not None


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("owners", "ends_by_itself"),
    [(("one",), False), (("one", "one"), False), (("one", "two"), True)],
)
def test_in_a_job_a_worker_ends_where_two_others_do_the_rest(
    database: Database,
    submit: Submit,
    caplog: pytest.LogCaptureFixture,
    owners: tuple[str, ...],
    ends_by_itself: bool,
) -> None:
    held(database, submit("one", f"study.n_trials={len(owners)}"), *owners)
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        code = serve("one", stop_after=20)
    assert code == (ExitCode.DONE if ends_by_itself else ExitCode.HANDED_BACK)
    said = own_lines(caplog)[-1]
    assert said == (
        "nothing is open, and other workers do the rest" if ends_by_itself else "told to stop"
    )


@pytest.mark.usefixtures("job")
def test_in_a_job_a_worker_waits_for_work_that_may_open(database: Database, submit: Submit) -> None:
    study_id = submit("one", "study.n_trials=3")
    held(database, study_id, "one", "two", "three")
    with database.session.begin() as session:
        row = session.query(TrialSlotRow).filter_by(number=0).one()
        lease, row.leased_until = row.leased_until, 1.0  # its worker has died
    assert serve("one", stop_after=20) == ExitCode.HANDED_BACK
    with database.session.begin() as session:
        session.execute(update(TrialSlotRow).values(leased_until=lease))
        session.execute(update(StudyRow).values(max_running=3))
    assert serve("one", stop_after=20) == ExitCode.DONE
    local_worker.submit(*QUICK, "study.n_trials=4", "study.name=one")
    assert serve("one", stop_after=20) == ExitCode.HANDED_BACK  # an open trial, without room


def test_outside_of_a_job_a_worker_waits_until_nothing_is_left(
    database: Database, submit: Submit
) -> None:
    held(database, submit("one"), "one", "two")
    assert serve("one", stop_after=20) == ExitCode.HANDED_BACK


@pytest.mark.parametrize("until_empty", [True, False])
def test_a_worker_ends_after_its_idle_timeout(
    database: Database, submit: Submit, until_empty: bool
) -> None:
    study_id = submit("one")
    assert serve(until_empty=until_empty, idle_timeout=0.0) == ExitCode.DONE
    assert ends(database, study_id) == ["complete"] * 2
    held(database, submit("two"), "one", "two")
    assert serve(until_empty=until_empty, idle_timeout=0.0) == ExitCode.DONE
    assert serve(until_empty=until_empty, idle_timeout=1e9, stop_after=20) == ExitCode.HANDED_BACK
