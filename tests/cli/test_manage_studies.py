"""The commands on the studies of a database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import optuna
import pytest
from command_line import Command
from sqlalchemy import inspect, text

from lrsearch.cli.compose import load_settings
from lrsearch.data.spec import DataInfo
from lrsearch.launchers import LAUNCHERS
from lrsearch.launchers.base import Job, JobState, News, Sweep
from lrsearch.queue.endings import Ending
from lrsearch.queue.jobs import Jobs
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.registry import Component
from lrsearch.settings import Settings
from lrsearch.storage.database import Database
from lrsearch.storage.engine import connect
from lrsearch.storage.optuna_bridge import open_database
from lrsearch.study.follow_up import follow_up
from lrsearch.study.index import StudyIndex
from lrsearch.study.study import open_study

URL = "sqlite:///lrsearch.db"
INFO = DataInfo(
    name="digits", fingerprint="abc", input_shape=(1, 8, 8), n_classes=10, n_train=1078,
    n_validation=360, n_test=359, fallback_reason=None, wanted="digits", file=None,
)  # fmt: skip


@pytest.fixture
def claims(command: Command) -> TrialClaims:
    """A study of three trials, and a worker on it."""
    settings: Settings = load_settings(["+sweep=digits", "study.n_trials=3"])
    studies, database = open_database(URL)
    study = open_study(settings, INFO, database, studies)
    return TrialClaims(
        database.session, study.study_id, "far-away/1/1.00", follow_up, settings.queue
    )


def state(name: str = "digits") -> str:
    database = Database(URL)
    found = next(one.state for one in StudyIndex(database.session).statuses() if one.name == name)
    database.close()
    return found


def test_status_lists_the_studies_and_what_is_done(command: Command, claims: TrialClaims) -> None:
    claim = claims.claim(take_over=False)
    assert claim is not None
    code, out, _ = command("status")
    assert code == 0
    assert "digits" in out
    assert "0/3 done, 1 running, 2 open" in out
    claims.finish(claim, Ending("complete", 0.5), 1.0)
    claims.claim(take_over=False)
    code, out, _ = command("status", "digits")
    assert "1 complete" in out
    assert "trial 1 on far-away, process 1: just begun\n" in out


class Cluster:
    """A launcher that sees one job, which waits, and writes down which are cancelled."""

    name = "pretended"
    cancelled: ClassVar[list[str]] = []

    def attach(self, sweep: Sweep) -> None: ...

    def watch(self, news: News) -> None: ...

    def alive(self) -> list[Job]:
        return [Job("7_0", JobState.WAITING)]

    def stop(self, jobs: Sequence[Job], at_once: bool = False) -> None:
        self.cancelled.extend(job.job_id for job in jobs)

    def close(self) -> None: ...


@pytest.mark.parametrize("is_reached", [True, False])
@pytest.mark.parametrize(
    ("words", "done"),
    [
        (("delete", "digits", "--yes"), "digits is deleted"),
        (("stop", "digits"), "digits is stopped"),
        (("stop", "digits", "--now"), "digits is stopped"),
    ],
)
def test_jobs_of_a_study_that_is_stopped_or_deleted_are_cancelled(
    command: Command,
    claims: TrialClaims,
    monkeypatch: pytest.MonkeyPatch,
    is_reached: bool,
    words: tuple[str, ...],
    done: str,
) -> None:
    Jobs(claims.session, claims.study_id, "pretended").add({"7_0": None})
    Cluster.cancelled.clear()
    if is_reached:
        monkeypatch.setitem(LAUNCHERS.components, "pretended", Component("pretended", Cluster))
    code, out, _ = command(*words)
    assert code == 0
    assert Cluster.cancelled == (["7_0"] if is_reached else [])
    assert ("job is cancelled" if is_reached else "jobs are not cancelled") in out
    assert done in out


def test_a_study_is_paused_resumed_and_stopped(command: Command, claims: TrialClaims) -> None:
    assert command("pause", "digits")[0] == 0
    assert state() == "paused"
    code, out, _ = command("resume", "digits")
    assert (code, state()) == (0, "open")
    assert "python -m lrsearch worker --sweep digits --until-empty" in out
    claim = claims.claim(take_over=False)
    assert claim is not None
    assert "1 running trial goes on to its end" in command("stop", "digits")[1]
    assert not claims.renew(claim).hand_back
    assert "1 running trial is handed back" in command("stop", "digits", "--now")[1]
    assert claims.renew(claim).hand_back
    assert state() == "stopped"


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_what_is_done_is_neither_paused_nor_stopped(
    command: Command, claims: TrialClaims, verb: str
) -> None:
    while claim := claims.claim(take_over=False):
        claims.finish(claim, Ending("complete", 0.5), 1.0)
    code, out, _ = command(verb, "digits")
    assert (code, out) == (0, f"digits is done: there is nothing to {verb}\n")
    assert state() == "open"


def test_failed_trials_are_tried_again_when_asked(command: Command, claims: TrialClaims) -> None:
    claim = claims.claim(take_over=False)
    assert claim is not None
    claims.finish(claim, Ending("failed", reason="no disk"), 1.0)
    assert "open: 2 trials wait" in command("resume", "digits")[1]
    _, out, _ = command("resume", "digits", "--retry-failed")
    assert "1 failed trial is open again" in out
    assert "open: 3 trials wait" in out
    for _ in range(2):
        claims.claim(take_over=False)
    assert "open: 1 trial waits, 2 running" in command("resume", "digits")[1]


def test_a_study_is_deleted_only_with_yes_and_only_when_nothing_runs(
    command: Command, claims: TrialClaims, tmp_path: Path
) -> None:
    claim = claims.claim(take_over=False)
    assert claim is not None
    checkpoints = tmp_path / "lrsearch-checkpoints" / f"digits-{claims.study_id}"
    checkpoints.mkdir(parents=True)
    code, _, error = command("delete", "digits")
    assert code == 2
    assert "add --yes" in error
    code, _, error = command("delete", "digits", "--yes")
    assert code == 2
    assert "stop digits --now" in error
    claims.give_back(claim)
    assert command("delete", "digits", "--yes")[0] == 0
    assert not checkpoints.exists()
    assert optuna.get_all_study_names(URL) == []
    assert "no studies" in command("status")[1]


@pytest.mark.parametrize("output_dir", ["outputs", "elsewhere"])
def test_its_outputs_are_deleted_on_request(
    command: Command, claims: TrialClaims, tmp_path: Path, output_dir: str
) -> None:
    folder, other = tmp_path / output_dir / "digits", tmp_path / output_dir / "other"
    for path in (folder, other):
        path.mkdir(parents=True)
        (path / "best.yaml").write_text("")
    words = ("delete", "digits", "--outputs", f"output_dir={output_dir}")
    code, _, error = command(*words)
    assert code == 2
    assert f"and the folder {folder} with all that is in it" in error
    assert folder.exists()
    code, out, _ = command(*words, "--yes")
    assert code == 0
    assert f"{folder} is deleted" in out
    assert not folder.exists()
    assert other.exists()


def test_else_they_stay_and_their_path_is_said(
    command: Command, claims: TrialClaims, tmp_path: Path
) -> None:
    folder = tmp_path / "outputs" / "digits"
    folder.mkdir(parents=True)
    _, out, _ = command("delete", "digits", "--yes")
    assert f"what it wrote to {folder} is still there" in out
    assert folder.exists()


def test_where_there_are_no_outputs_nothing_is_deleted(
    command: Command, claims: TrialClaims, tmp_path: Path
) -> None:
    code, _, error = command("delete", "digits", "--yes", "--outputs")
    assert code == 2
    assert f"there is no folder {tmp_path / 'outputs' / 'digits'}; give output_dir=" in error
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "digits").symlink_to(elsewhere)
    code, _, error = command("delete", "digits", "--yes", "--outputs")
    assert code == 2
    assert f"is a link to {elsewhere}" in error
    assert optuna.get_all_study_names(URL) == ["digits"]


@pytest.mark.parametrize("arguments", [("pause",), ("stop", "digist"), ("resume", "a", "b")])
def test_a_study_must_be_named_and_a_typo_is_helped(
    command: Command, claims: TrialClaims, arguments: tuple[str, ...]
) -> None:
    code, _, error = command(*arguments)
    assert code == 2
    assert "there: digits" in error
    assert state() == "open"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "digist"), ("status", "digist", "--watch"), ("stop", "digist"),
        ("best", "digist"), ("show", "digist", "0"), ("export", "digist"), ("report", "digist"),
        ("try", "digist", "lr=0.1"), ("train", "digist"),
    ],
)  # fmt: skip
def test_a_study_that_is_not_there_is_told_in_the_same_words_everywhere(
    command: Command, claims: TrialClaims, arguments: tuple[str, ...]
) -> None:
    code, out, error = command(*arguments)
    assert (code, out) == (2, "")
    assert f"no study 'digist' in {URL}; did you mean digits? (there: digits)" in error


def test_a_database_that_is_not_there_is_not_made(command: Command, tmp_path: Path) -> None:
    code, _, error = command("status", "storage.url=sqlite:///typo.db")
    assert code == 2
    assert "there is no database" in error
    code, _, error = command("worker", "--until-empty", "storage.url=sqlite:///typo.db")
    assert code == 2
    assert "there is no database" in error
    assert not (tmp_path / "typo.db").exists()


COMMANDS = [
    ("status",), ("best", "digits"), ("show", "digits", "0"), ("report", "digits"),
    ("pause", "digits"), ("delete", "digits"), ("upgrade",), ("worker", "--until-empty"),
    ("dashboard", "--port=0"),
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_file_that_is_no_database_of_lrsearch_is_refused_and_left_as_it_is(
    command: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "text.db").write_text("this is not a database, but a text")
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as connection:
        connection.execute("CREATE TABLE studies (id INTEGER, title TEXT)")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for name, said in (
        ("text", "not a database"), ("empty", "has no tables"), ("foreign", "has no tables"),
    ):  # fmt: skip
        code, _, error = command(*words, f"storage.url=sqlite:///{name}.db")
        assert code == 2
        assert said in error
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_sweep_leaves_the_database_of_another_program_as_it_is(
    command: Command, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as connection:
        connection.execute("CREATE TABLE studies (id INTEGER, title TEXT)")
    before = (tmp_path / "foreign.db").read_bytes()
    code, _, error = command("submit", "+sweep=digits", "storage.url=sqlite:///foreign.db")
    assert code == 2
    assert "belongs to another program, whose 'studies' would be in the way" in error
    assert (tmp_path / "foreign.db").read_bytes() == before


def test_a_sweep_is_submitted_with_words_that_hold_in_every_folder(
    command: Command, tmp_path: Path
) -> None:
    code, out, _ = command("submit", "+sweep=digits", "storage.url=sqlite:///a b.db")
    assert code == 0
    assert f"worker --sweep digits --until-empty 'storage.url=sqlite:///{tmp_path}/a b.db'" in out


def test_an_unknown_place_is_refused(command: Command) -> None:
    code, _, error = command("worker", "storage.ulr=sqlite:///x.db")
    assert code == 2
    assert "did you mean storage.url" in error


def test_the_doctor_finds_what_is_right_and_what_is_wrong(
    command: Command, claims: TrialClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = command("doctor")
    assert code == 0
    for what in ("database", "latency", "permissions", "checkpoints", "device"):
        assert f"ok       {what}: " in out
    code, out, _ = command("doctor", "storage.url=postgresql://me:hunter2@127.0.0.1:1/x")
    assert code == 1
    assert "problem  database" in out
    assert "hunter2" not in out
    code, out, _ = command("doctor", "storage.checkpoints=/proc/nowhere")
    assert code == 1
    assert "problem  checkpoints" in out


def test_the_doctor_makes_no_folder_and_says_which_one_is_missing(
    command: Command, claims: TrialClaims, tmp_path: Path
) -> None:
    place = tmp_path / "shared" / "ours"
    before = sorted(tmp_path.iterdir())
    for _ in range(2):
        code, out, _ = command("doctor", "storage.checkpoints=shared/ours")
        assert code == 0
        assert f"ok       checkpoints: {place} can be written and read" in out
        assert "warning  checkpoints: it is not there yet, and will be made by the first" in out
        assert "if it should be on another disk, mount that" in out
        assert "not there yet" in command("doctor", f"storage.checkpoints=file://{place}")[1]
    assert "ok       checkpoints: " in command("doctor")[1]
    (tmp_path / "gone").symlink_to(tmp_path / "unmounted")
    code, out, _ = command("doctor", "storage.checkpoints=gone")
    assert code == 1
    assert "problem  checkpoints: " in out
    (tmp_path / "gone").unlink()
    assert sorted(tmp_path.iterdir()) == before


def test_the_doctor_counts_connections(command: Command, new_database: Callable[[], str]) -> None:
    url = new_database()
    code, out, _ = command("doctor", f"storage.url={url}", "workers=4")
    assert code == 0, out
    assert "4 workers here take up to 5" in out
    code, out, _ = command("doctor", f"storage.url={url}", "workers=400")
    assert code == 1
    wanted = re.search(r"raise max_connections to (\d+)", out)
    assert wanted is not None
    assert 401 < int(wanted[1]) < 450
    assert "hunter2" not in out


def test_the_doctor_leaves_no_table_behind_and_takes_an_old_one_away(
    command: Command, claims: TrialClaims
) -> None:
    with connect(URL).begin() as connection:
        connection.execute(text("create table lrsearch_doctor (n integer)"))
    for _ in range(2):
        assert "ok       permissions" in command("doctor", f"storage.url={URL}")[1]
        assert not inspect(connect(URL)).has_table("lrsearch_doctor")
