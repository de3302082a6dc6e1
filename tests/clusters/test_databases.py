"""Fleets of workers on real servers: PgBouncer, too few connections, and servers that fail."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from command_line import Run
from servers import NEWEST, OLDEST, PostgreSQL, pgbouncer, postgresql, url_of, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

WAITS = "has no free connection: waiting"
STEADY = """
import time

def train(recipe, report):
    for epoch in range(1, 21):
        time.sleep(0.2)
        report(epoch=epoch, val_loss=recipe.lr + 1 / epoch)
"""
"""Trials of four seconds, whose values depend on their recipes alone."""
STEADILY = ("+sweep=digits", "objective._target_=steady.train", "pruner=none", "sampler=random")


@pytest.fixture(params=[OLDEST, NEWEST])
def version(request: pytest.FixtureRequest) -> str:
    """Both versions of PostgreSQL in turn."""
    return str(request.param)


@pytest.fixture
def steady(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment in which the module of the objective is found."""
    (tmp_path / "steady.py").write_text(STEADY)
    return {**environment, "PYTHONPATH": f"{tmp_path}:{environment['PYTHONPATH']}"}


@contextmanager
def started(
    folder: Path, environment: Mapping[str, str], *arguments: str, log: str = "log"
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command of lrsearch, which is killed at the end of the block."""
    with (folder / log).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lrsearch", *arguments],
            cwd=folder,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def all_connections(url: str) -> Iterator[psycopg.Connection[object]]:
    """Take the connections that a server has left, one after the other."""
    while True:
        try:
            yield psycopg.connect(url.replace("+psycopg", ""))
        except psycopg.OperationalError:
            return


def complete(server: PostgreSQL, trials: int, evaluations: int) -> bool:
    """Whether each trial was run once, and each of its evaluations is stored once."""
    once = "select count(*) from lrsearch_units where outcome = 'complete' and attempts = 1"
    stored = "select count(*) from lrsearch_epochs"
    found = server.sql(f"select ({once}), ({stored})", "sweeps")
    return found == [(trials, trials * evaluations)]


def test_workers_share_the_two_connections_of_a_pooler_in_transaction_mode(
    lrsearch: Run, version: str
) -> None:
    with postgresql(version) as server, pgbouncer(server, default_pool_size=2) as port:
        server.new_database("sweeps")
        url = f"storage.url={url_of(port, 'sweeps')}"
        sweep = ("+sweep=digits", "train.epochs=8", "workers=5", "study.n_trials=10", url)
        done = lrsearch(*sweep, timeout=600)
        assert done.returncode == 0, done.stderr
        assert "died" not in done.stdout + done.stderr
        assert server.connections("sweeps") <= 2
        ended = server.sql("select count(*), max(attempts) from lrsearch_units", "sweeps")
        assert ended == [(10, 1)]
        for words in (["status", "digits"], ["best", "digits"], ["report", "digits"], ["doctor"]):
            told = lrsearch(*words, url)
            assert told.returncode == 0, told.stdout + told.stderr


def test_workers_wait_for_their_turn_where_there_are_more_of_them_than_connections(
    lrsearch: Run, steady: dict[str, str], tmp_path: Path, version: str
) -> None:
    count, trials = 8, 10
    with postgresql(version, max_connections=10) as server, ExitStack() as running:
        url = server.new_database("sweeps")
        submitted = lrsearch(
            "submit", *STEADILY, f"study.n_trials={trials}", f"storage.url={url}",
            PYTHONPATH=steady["PYTHONPATH"],
        )  # fmt: skip
        assert submitted.returncode == 0, submitted.stderr
        with ExitStack() as taken:
            for connection in all_connections(url):
                taken.enter_context(connection)
            workers = [
                running.enter_context(
                    started(
                        tmp_path,
                        {**steady, "LRSEARCH_STORAGE": f"{url}?application_name=w{number}"},
                        *("worker", "--until-empty"),
                        log=f"worker-{number}.log",
                    )
                )
                for number in range(count)
            ]
            logs = [tmp_path / f"worker-{number}.log" for number in range(count)]
            wait_for(lambda: all(WAITS in log.read_text() for log in logs), "all to wait", 300)
        most: dict[object, int] = {}

        def all_have_ended() -> bool:
            query = (
                "select application_name, count(*) from pg_stat_activity "
                "where datname = 'sweeps' group by 1"
            )
            for name, held in server.sql(query):
                most[name] = max(most.get(name, 0), int(str(held)))
            return all(worker.poll() is not None for worker in workers)

        wait_for(all_have_ended, "all workers to end", 500)
        said = [log.read_text() for log in logs]
        assert [worker.returncode for worker in workers] == [0] * count, said
        assert [log.count(WAITS) for log in said] == [1] * count
        assert most
        assert set(most.values()) == {1}
        assert complete(server, trials, evaluations=20)


def test_a_sweep_outlives_a_fail_over_cut_connections_and_a_crash(
    steady: dict[str, str], tmp_path: Path, version: str
) -> None:
    trials = 12
    with postgresql(version) as server:
        url = server.new_database("sweeps")
        environment = {**steady, "LRSEARCH_STORAGE": url}
        sweep = (*STEADILY, f"study.n_trials={trials}", "workers=3")

        def evaluations_stored(number: int) -> None:
            query = f"select count(*) >= {number} from lrsearch_epochs"
            wait_for(lambda: server.sql(query, "sweeps") == [(True,)], f"{number} evaluations", 300)

        def said(what: str, times: int) -> None:
            def is_said() -> bool:
                logs = tmp_path.glob("outputs/digits/logs/*.log")
                return sum(log.read_text().count(what) for log in logs) >= times

            wait_for(is_said, f"a log that says {what!r}", 120)

        with started(tmp_path, environment, *sweep) as process:
            wait_for(lambda: bool(server.sql("select to_regclass('lrsearch_units') is not null",
                                             "sweeps")[0][0]), "the tables", 120)  # fmt: skip
            evaluations_stored(10)
            server.sql("alter system set default_transaction_read_only = on")
            server.sql("select pg_reload_conf()")
            said("read-only transaction", 1)
            server.sql("alter system reset default_transaction_read_only")
            server.sql("select pg_reload_conf()")
            evaluations_stored(80)
            server.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'sweeps'"
            )
            evaluations_stored(120)
            server.stop(signal.SIGQUIT)
            said("the database does not answer, training goes on", 1)
            server.start()
            assert process.wait(500) == 0, (tmp_path / "log").read_text()
        assert "died" not in (tmp_path / "log").read_text()
        assert complete(server, trials, evaluations=20)
        wrong = server.sql(
            "select count(*) from lrsearch_units "
            "where abs(value - (recipe->>'lr')::float - 0.05) > 1e-12",
            "sweeps",
        )
        assert wrong == [(0,)]
