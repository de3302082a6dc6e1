"""A study: what it stores, how it goes on, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import optuna
import pytest
from processes import at_one_instant
from sqlalchemy import select, text, update
from told_sweep import digits

from lrsearch.cli.compose import load_settings
from lrsearch.data.spec import DataInfo
from lrsearch.errors import UserError
from lrsearch.queue.leasing import LONGEST_LEASE
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies, open_database
from lrsearch.storage.tables import RefusalRow, StudyRow, TrialSlotRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.index import StudyIndex
from lrsearch.study.plan import plan_slots
from lrsearch.study.study import OpenStudy, load_row, open_study
from lrsearch.text.redaction import learn

INFO = DataInfo(
    name="digits",
    fingerprint="abc123",
    input_shape=(1, 8, 8),
    n_classes=10,
    n_train=1078,
    n_validation=360,
    n_test=359,
    fallback_reason=None,
    wanted="digits",
    file=None,
)

Open = Callable[..., OpenStudy]


@pytest.fixture
def open_with(database: Database, studies: Studies) -> Open:
    def run(*overrides: str, info: DataInfo = INFO) -> OpenStudy:
        return open_study(digits(*overrides), info, database, studies)

    return run


def test_a_new_study_has_a_unit_for_each_trial_and_a_record_to_repeat_it(
    open_with: Open, database: Database
) -> None:
    study = open_with()
    assert (study.resumed, study.total, study.name) == (False, 20, "digits")
    row = load_row(database, "digits")
    assert row.config["train"]["epochs"] == 15
    assert row.config["space"]["batch_size"] == {"low": 16, "high": 128, "type": "power_of_two"}
    assert row.record["data"]["fingerprint"] == "abc123"
    assert {"torch", "optuna", "lrsearch", "python"} <= set(row.record["versions"])
    assert row.record["runs"][0]["sampler"]["name"] == "auto"


def test_the_dashboard_finds_what_it_needs_among_the_attributes(open_with: Open, url: str) -> None:
    open_with()
    study = optuna.load_study(study_name="digits", storage=url)
    assert study.user_attrs["data fingerprint"] == "abc123"
    assert study.metric_names == ["val_loss"]


def test_no_password_is_stored_anywhere(database: Database, studies: Studies) -> None:
    secret = load_settings(["+sweep=digits", "storage.url=postgresql://me:hunter2@host/db"])
    open_study(secret, INFO, database, studies)
    with database.session() as session:
        tables = session.execute(text("select name from sqlite_master where type='table'"))
        for (table,) in tables.all():
            rows = session.execute(text(f'select * from "{table}"')).all()
            assert "hunter2" not in json.dumps(rows, default=str), table


def test_a_secret_in_a_text_of_an_error_is_not_stored(
    database: Database, studies: Studies, url: str
) -> None:
    learn("postgresql://me:hunter2@host/db")
    study = open_study(load_settings(["+sweep=digits"]), INFO, database, studies)
    study.queue.stop("cannot connect as me with hunter2", hand_back=False)
    StudyIndex(database.session).refuse(study.study_id, "host", "no answer from me:hunter2@host")
    with database.session.begin() as session:
        session.execute(update(TrialSlotRow).values(reason="ValueError: 'hunter2' is wrong"))
    with database.session() as session:
        assert session.scalars(select(StudyRow.stopped)).all() == ["cannot connect as me with ***"]
        assert session.scalars(select(RefusalRow.reason)).all() == ["no answer from me:***@host"]
        assert set(session.scalars(select(TrialSlotRow.reason))) == {"ValueError: '***' is wrong"}


def test_the_same_command_again_resumes_to_the_same_total(open_with: Open) -> None:
    open_with()
    study = open_with()
    assert (study.resumed, study.total, study.notes) == (True, 20, ())


def test_a_larger_budget_extends_and_a_smaller_one_cuts(open_with: Open) -> None:
    open_with()
    study = open_with("study.n_trials=25")
    assert (study.total, study.notes) == (25, ("extended from 20 to 25 trials",))
    study = open_with("study.n_trials=4")
    assert (study.total, study.notes) == (4, ("cut from 25 trials to 4",))


def test_what_has_begun_is_not_cut_and_that_is_said(open_with: Open, database: Database) -> None:
    claims = TrialClaims(database.session, open_with().study_id, "me", follow_up)
    for _ in range(3):
        assert claims.claim(take_over=False) is not None
    study = open_with("study.n_trials=2")
    assert (study.total, study.notes) == (
        3,
        ("cut from 20 trials to 3, since these have begun",),
    )
    assert open_with("study.n_trials=2").notes == ("not cut to 2: 3 trials have begun",)


@pytest.mark.parametrize(
    ("halt", "note"),
    [
        (lambda queue: queue.pause(), "no longer paused"),
        (
            lambda queue: queue.stop("stopped by hand", hand_back=True),
            "no longer stopped (stopped by hand)",
        ),
        (
            lambda queue: queue.stop("no range: Traceback\n File x\nValueError: 3", hand_back=True),
            "no longer stopped (no range: Traceback ValueError: 3)",
        ),
    ],
)
def test_that_a_halt_is_lifted_is_said(
    open_with: Open, database: Database, halt: Callable[[Queue], None], note: str
) -> None:
    halt(open_with().queue)
    assert open_with().notes == (note,)
    assert open_with().notes == ()


def test_an_extended_study_has_the_units_it_would_have_had_from_the_start() -> None:
    short, long = (plan_slots(digits(f"study.n_trials={n}")) for n in (5, 9))
    assert long[:5] == short
    assert len({seed for _, seed in long}) == 9


def test_sampler_and_pruner_may_change_and_that_is_recorded(
    open_with: Open, database: Database
) -> None:
    open_with()
    study = open_with("sampler=random", "pruner=asha")
    assert study.notes == (
        "sampler is now random (was auto)",
        "pruner is now asha (was schedule_aware)",
    )
    names = [run["sampler"]["name"] for run in load_row(database, "digits").record["runs"]]
    assert names == ["auto", "random"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("space.lr.high=0.5", "space.lr.high: was 1.0, is 0.5"),
        ("train.epochs=3", "train.epochs: was 15, is 3"),
        ("train.loss=mse", "train.loss: was None, is 'mse'"),
        ("study.seed=1", "study.seed: was 0, is 1"),
        ("model.hidden=[8]", "model.hidden: was [64, 32], is [8]"),
        ("metric.at=best", "metric.at: was 'last', is 'best'"),
        ("coupling.rule=sqrt", "coupling.rule: was 'none', is 'sqrt'"),
        ("data.split_seed=5", "data.split_seed: was 0, is 5"),
    ],
)
def test_a_change_of_what_is_searched_is_refused_with_the_two_ways_out(
    open_with: Open, database: Database, override: str, said: str
) -> None:
    open_with()
    with pytest.raises(UserError) as refused:
        open_with(override)
    for words in (said, "study.name=digits-2", "go back to the old set-up"):
        assert words in str(refused.value)
    assert len(load_row(database, "digits").record["runs"]) == 1


@pytest.mark.parametrize(
    "override",
    ["train.device=cpu", "train.threads=2", "data.root=/elsewhere", "study.timeout=9", "workers=1"],
)
def test_where_and_how_fast_may_change(open_with: Open, override: str) -> None:
    open_with()
    assert open_with(override).resumed


def test_other_data_are_refused(open_with: Open) -> None:
    open_with()
    with pytest.raises(UserError, match="their fingerprint differs"):
        open_with(info=dataclasses.replace(INFO, fingerprint="other"))


def test_a_creation_that_was_interrupted_is_completed(open_with: Open, studies: Studies) -> None:
    studies.create("digits", "min", "val_loss")  # and then the lights went out
    study = open_with()
    assert (study.resumed, study.total) == (False, 20)


def test_sweeps_that_make_one_study_at_one_instant_share_its_trials(either_url: str) -> None:
    chosen = digits("study.n_trials=7")

    def begin() -> None:
        studies, database = open_database(either_url)
        assert open_study(chosen, INFO, database, studies).total == 7

    assert at_one_instant(4, begin) == [0] * 4
    database = Database(either_url)
    row = load_row(database, "digits")
    assert Queue(database.session, row.study_id).total() == 7
    assert len(row.record["runs"]) == row.runs == 4
    database.close()


def test_a_study_of_somebody_elses_is_left_alone(
    open_with: Open, studies: Studies, url: str
) -> None:
    optuna.create_study(study_name="digits", storage=url).ask()
    with pytest.raises(UserError, match="was not made by lrsearch"):
        open_with()


def test_an_unknown_study_is_named_with_those_there_are(
    open_with: Open, database: Database
) -> None:
    open_with()
    with pytest.raises(UserError, match="there: digits"):
        load_row(database, "digit")


def test_tables_of_another_version_are_refused(database: Database, url: str) -> None:
    with database.session.begin() as session:
        session.execute(text("update lrsearch_version set version = 99"))
    with pytest.raises(UserError, match="version 99"):
        Database(url)


def test_sqlite_lets_readers_and_writers_work_at_once(database: Database) -> None:
    with database.engine.connect() as connection:
        assert connection.execute(text("pragma journal_mode")).scalar() == "wal"
        assert connection.execute(text("pragma busy_timeout")).scalar() == 60_000


def test_a_grid_is_a_unit_for_each_combination_in_an_order_the_seed_fixes() -> None:
    grid = ["sampler=grid", "study.n_trials=null", "space.lr.points=2", "space.warmup=0",
            "space.weight_decay=0", "space.batch_size.choices=[16]", "space.optimizer.only=[adamw]",
            "space.optimizer.adamw.lr.points=3", "space.scheduler.only=[constant,linear]",
            "space.scheduler.linear.final=0"]  # fmt: skip
    units = plan_slots(digits(*grid))
    assert len(units) == 6
    assert units == plan_slots(digits(*grid))
    assert plan_slots(digits(*grid, "study.n_trials=4")) == units[:4]
    assert plan_slots(digits(*grid, "study.n_trials=400")) == units


def test_balanced_branches_take_turns_after_what_is_tried_first() -> None:
    first = "study.try_first=[{lr: 0.1, optimizer: sgd}]"
    units = plan_slots(digits("study.balance=[optimizer]", first, "study.n_trials=5"))
    assert [params["optimizer"] for params, _ in units] == ["sgd", "sgd", "adamw", "sgd", "adamw"]
    assert units[0][0]["lr"] == 0.1


def test_a_change_to_a_grid_gives_open_units_the_settings_of_the_grid(
    open_with: Open, database: Database
) -> None:
    space = ["study.n_trials=4", "space.lr.points=2", "space.warmup=0", "space.weight_decay=0",
             "space.batch_size.choices=[16]", "space.optimizer.only=[sgd]",
             "space.optimizer.sgd.momentum=0.9", "space.scheduler.only=[constant,linear]",
             "space.scheduler.linear.final=0"]  # fmt: skip
    open_with(*space, "sampler=random")
    grid = open_with(*space, "sampler=grid").queue
    worker = TrialClaims(database.session, grid.study_id, "me/1/1.0", follow_up)
    claims = [worker.claim(take_over=False) for _ in range(4)]
    assert len({str(claim.params) for claim in claims if claim}) == 4


def test_the_longest_lease_that_a_worker_may_hold_is_remembered(
    database: Database, studies: Studies
) -> None:
    for lease, longest in ((60, 60), (600, 600), (10, 600)):
        open_study(
            load_settings(["+sweep=digits", f"queue.lease={lease}"]), INFO, database, studies
        )
        assert load_row(database, "digits").record[LONGEST_LEASE] == longest
