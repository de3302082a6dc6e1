"""Servers of both tested versions, alone and behind PgBouncer: what passes, and what does not."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults

import psycopg
import pytest
from processes import at_one_instant
from servers import NEWEST, OLDEST, PostgreSQL, pgbouncer, postgresql, url_of
from shop import TERMS, Shop
from sqlalchemy import make_url, text
from sqlalchemy.exc import InternalError, OperationalError

from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.dashboard.pictures import Artifacts
from lrsearch.dashboard.server import dashboard
from lrsearch.errors import UserError
from lrsearch.queue.endings import Ending
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.states import Outcome
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import open_database
from lrsearch.storage.outages import is_full, passes, trouble
from lrsearch.storage.tables import TrialSlotRow
from lrsearch.storage.upgrade import upgrade
from lrsearch.study.follow_up import follow_up
from lrsearch.study.history import StudyHistory
from lrsearch.study.index import StudyIndex
from lrsearch.tuning.pruners.rules import Group

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_NUMBERS = itertools.count()
TRIALS, EVALUATIONS = 10, 4


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def server(request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    """A server of each version with few connections."""
    with postgresql(request.param, max_connections=16) as server:
        yield server


@pytest.fixture
def url(server: PostgreSQL) -> Iterator[str]:
    """A new database of the server."""
    name = f"test_{next(_NUMBERS)}"
    yield server.new_database(name)
    server.sql(f"drop database {name} with (force)")


def name_of(url: str) -> str:
    """The name of a URL's database."""
    return url.rpartition("/")[2]


class Trials(Shop[TrialClaims]):
    """A study of some trials."""

    kind, table = TrialClaims, TrialSlotRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue.add([({}, seed) for seed in range(TRIALS)])


def serve(url: str) -> None:
    """Serve the study to its end as a worker does, but without a training."""
    studies, database = open_database(url)
    study_id = studies.find("one")
    assert study_id is not None
    owner = f"host/{os.getpid()}/1.00"
    claims = TrialClaims(database.session, study_id, owner, follow_up, TERMS)
    history = StudyHistory(database.session, study_id, "min")
    while (claim := claims.claim(take_over=False)) is not None:
        claims.started(claim, {}, {"lr": 0.1}, "cpu", {"peak lr": 0.1})
        for index in range(1, EVALUATIONS + 1):
            row = {
                "trial_id": claim.trial_id, "study_id": study_id, "evaluation": index,
                "epoch": index, "step": index, "value": 1 / index, "val_loss": 1 / index,
                "train_loss": None, "lr_start": 0.1, "lr_end": 0.1, "grad_norm": None,
                "seconds": 0.0, "metrics": {}, "moment": index, "bracket": None,
                "progress": index / EVALUATIONS, "rate_left": None,
            }  # fmt: skip
            claims.record(claim, [row])
            assert history.count(Group(index)) >= 1
            assert history.at(index / EVALUATIONS, 1 / EVALUATIONS)
        claims.finish(claim, Ending(Outcome.COMPLETE, 1 / EVALUATIONS), 1.0)
    studies.close()


def status_of(application: WSGIApplication, path: str) -> str:
    """The status of the answer to a request."""
    environ: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    seen: list[str] = []
    answer = application(environ, lambda status, *_: seen.append(status))  # type: ignore[arg-type,return-value]
    list(answer)
    return seen[0]


def assert_each_trial_was_run_once(server: PostgreSQL, url: str) -> None:
    once = "select count(*) from lrsearch_units where outcome = 'complete' and attempts = 1"
    stored = "select count(*) from lrsearch_epochs"
    shown = "select count(*) from trial_intermediate_values"
    found = server.sql(f"select ({once}), ({stored}), ({shown})", name_of(url))
    assert found == [(TRIALS, TRIALS * EVALUATIONS, TRIALS * EVALUATIONS)]
    query = f"select deadlocks from pg_stat_database where datname = '{name_of(url)}'"
    assert server.sql(query) == [(0,)]  # each would cost a second


def test_workers_share_a_study(server: PostgreSQL, url: str) -> None:
    Trials(url).close()
    assert at_one_instant(5, partial(serve, url)) == [0] * 5
    assert_each_trial_was_run_once(server, url)


def test_workers_share_two_connections_of_a_pooler_in_transaction_mode(
    server: PostgreSQL, url: str
) -> None:
    with pgbouncer(server, default_pool_size=2) as port:
        through = url_of(port, name_of(url))
        Trials(through).close()
        assert at_one_instant(5, partial(serve, through)) == [0] * 5
        assert server.connections(name_of(url)) <= 2
        tables = OwnTables(through)
        pages = dashboard(through, Artifacts(tables, Path("none")))
        assert [status_of(pages, "/api/studies") for _ in range(8)] == ["200 OK"] * 8
        tables.close()
        upgrade(through)
    assert_each_trial_was_run_once(server, url)


def test_all_connections_in_use_pass_and_nothing_is_held_after_a_failure(
    server: PostgreSQL, url: str
) -> None:
    shop = Trials(url)
    with ExitStack() as others:
        with pytest.raises(psycopg.OperationalError):  # noqa: PT012 - until there are no more
            while True:
                others.enter_context(psycopg.connect(url.replace("+psycopg", "")))
        held = server.connections(name_of(url))
        with pytest.raises(UserError) as caught:
            open_database(url)
        assert passes(caught.value)
        assert is_full(caught.value)
        assert server.connections(name_of(url)) == held
        assert shop.queue.total() == TRIALS  # who has one goes on
    shop.close()


def test_a_server_that_only_reads_passes_and_can_be_read(server: PostgreSQL, url: str) -> None:
    shop = Trials(url)
    _, claim = shop.claim("a")
    shop.studies.engine.dispose()
    server.sql(f"alter database {name_of(url)} set default_transaction_read_only = on")
    worker = shop.worker("a")
    with pytest.raises(InternalError) as caught:
        worker.renew(claim)
    assert passes(caught.value)
    reading = Database(url, make=False)
    assert [study.name for study in StudyIndex(reading.session).waiting()] == ["one"]
    reading.close()
    server.sql(f"alter database {name_of(url)} reset default_transaction_read_only")
    shop.studies.engine.dispose()
    worker.renew(claim)
    shop.close()


def test_cut_connections_and_a_crash_pass(server: PostgreSQL, url: str) -> None:
    shop = Trials(url)
    worker, claim = shop.claim("a")
    cut = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name_of(url)}'"
    with shop.database.session() as session:
        session.execute(text("select 1"))
        server.sql(cut)
        with pytest.raises(OperationalError) as terminated:
            session.execute(text("select 1"))
    assert passes(terminated.value)
    worker.renew(claim)  # by a new connection
    server.stop(signal.SIGQUIT)
    with pytest.raises(OperationalError) as away:
        worker.renew(claim)
    assert passes(away.value)
    server.start()
    worker.renew(claim)
    shop.close()


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "PgBouncer"])
@pytest.mark.parametrize("wrong", ["password", "database", "username"])
def test_who_is_not_let_in_does_not_wait(
    server: PostgreSQL, url: str, pooled: bool, wrong: str
) -> None:
    changes = {"password": "12345", "database": "nowhere", "username": "nobody"}
    with pgbouncer(server) if pooled else nullcontext(server.port) as port:
        right = make_url(url_of(port, name_of(url)))
        bad = right.set(**{wrong: changes[wrong]}).render_as_string(hide_password=False)
        with pytest.raises(UserError, match="cannot use the database") as caught:
            open_database(bad)
    assert trouble(caught.value) == "access"
    assert "12345" not in str(caught.value)
    assert ("LRSEARCH_STORAGE_PASSWORD_FILE" in str(caught.value)) == (wrong != "database")
