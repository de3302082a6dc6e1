"""Workers on machines of a network whose link is cut, and whose database server is killed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import run_sweep
from network import Network, missing, network, server_on, until
from servers import PostgreSQL

NAME = "cut"
FIRST, SECOND, DATABASE = 0, 1, 2
"""The machines of two workers, and that of the server."""
LEASE = 3
EARLY, ALL = 3, 7
"""Trials of the study at first, and in the end."""
SWEEP = (
    "+sweep=digits", f"study.name={NAME}", "sampler=random", "pruner=none", "train.epochs=6",
    "train.keep_best=0", "train.checkpoint_every=10", f"queue.lease={LEASE}",
    "space.batch_size=128", "train.loss={_target_: slow_loss.loss}",
)  # fmt: skip
SLOW = '''
"""A cross-entropy whose training steps take a while, so that trials can be disturbed."""

import time

import torch


def loss(outputs, targets):
    if torch.is_grad_enabled():
        time.sleep(0.03)
    return torch.nn.functional.cross_entropy(outputs, targets)
'''
TRIALS = "select number, recipe, outcome, value, trial_id from lrsearch_units"
CURVES = (
    "select trial_id, evaluation, step, val_loss, train_loss, lr_end from lrsearch_epochs "
    "order by trial_id, evaluation"
)
Rows = list[tuple[object, ...]]
_NUMBERS = itertools.count()

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def three_machines() -> Iterator[Network]:
    """Two machines for workers, and one for the server."""
    if reason := missing():
        if os.environ.get("LRSEARCH_CLUSTER_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with network(3) as made:
        yield made


@pytest.fixture(scope="module")
def server(three_machines: Network) -> Iterator[PostgreSQL]:
    """The database server, on the third machine."""
    with server_on(three_machines, DATABASE) as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> dict[object, object]:
    """The trials of the same study without disturbance."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "slow_loss.py").write_text(SLOW)
    run_sweep(folder, environment, *SWEEP, f"study.n_trials={ALL}", "workers=2")
    with closing(sqlite3.connect(folder / "lrsearch.db")) as connection:
        return results(*(connection.execute(query).fetchall() for query in (TRIALS, CURVES)))


def results(trials: Rows, curves: Rows) -> dict[object, object]:
    """Return recipe, outcome, value and curve of each trial, by its number in the plan."""
    by_trial: dict[object, list[object]] = {}
    for trial_id, *row in curves:
        by_trial.setdefault(trial_id, []).append(tuple(row))
    return {
        number: (json.loads(recipe) if isinstance(recipe, str) else recipe, outcome, value,
                 by_trial.get(trial_id))
        for number, recipe, outcome, value, trial_id in trials
    }  # fmt: skip


class Fleet:
    """A study on the server, and a worker on each of the first two machines."""

    def __init__(
        self,
        machines: Network,
        server: PostgreSQL,
        folder: Path,
        environment: dict[str, str],
        database: str,
    ) -> None:
        self.machines, self.server, self.database, self.folder = machines, server, database, folder
        (folder / "slow_loss.py").write_text(SLOW)
        self.environment = {
            **environment,
            "LRSEARCH_STORAGE": server.new_database(database),
            "LRSEARCH_CHECKPOINTS": str(folder / "checkpoints"),
        }
        self.workers: dict[int, subprocess.Popen[bytes]] = {}

    def submit(self, trials: int) -> None:
        """Store the study with so many trials, or extend it."""
        process = self._start(FIRST, "submit", *SWEEP, f"study.n_trials={trials}")
        assert process.wait(120) == 0, self.said(FIRST)

    def work(self, machine: int) -> None:
        """Start a worker on a machine."""
        self.workers[machine] = self._start(machine, "worker", "--sweep", NAME)

    def _start(self, machine: int, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lrsearch", *arguments]
        with self._log(machine).open("ab") as log:
            return self.machines.start(machine, command, self.folder, log, self.environment)

    def _log(self, machine: int) -> Path:
        return self.folder / f"machine-{machine}.log"

    def said(self, machine: int) -> str:
        """Return what programs have said on a machine."""
        return self._log(machine).read_text(errors="replace")

    def all_said(self) -> str:
        """Return what programs have said on both machines of workers."""
        return self.said(FIRST) + self.said(SECOND)

    def ask(self, query: str) -> Rows:
        """Return the rows of a query."""
        return self.server.sql(query, self.database)

    def units_of(self, machine: int) -> set[object]:
        """Return the numbers of the trials that a machine's worker has, or has ended."""
        pid = self.workers[machine].pid
        rows = self.ask("select number, owner from lrsearch_units where owner is not null")
        return {number for number, owner in rows if f"/{pid}/" in str(owner)}

    def trains(self, machine: int) -> bool:
        """Return whether a worker has a trial with an evaluation."""
        reported = self.ask(
            "select distinct number from lrsearch_units join lrsearch_epochs using (trial_id) "
            "where state = 'running'"
        )
        return bool(self.units_of(machine) & {number for (number,) in reported})

    def are_done(self, trials: int) -> bool:
        """Return whether so many trials have ended."""
        rows = self.ask("select count(*) from lrsearch_units where state = 'done'")
        return rows == [(trials,)]

    def results(self) -> dict[object, object]:
        """Return the results of all trials."""
        return results(self.ask(TRIALS), self.ask(CURVES))

    def ends_of(self) -> Rows:
        """Return state and number of ends of the trials in Optuna's tables, by number."""
        return self.ask(
            "select trials.state::text, (select count(*) from trial_values v "
            "where v.trial_id = trials.trial_id), (select count(*) from trial_intermediate_values "
            "i where i.trial_id = trials.trial_id) from trials order by number"
        )

    def end(self) -> None:
        """Stop the workers, as one stops them."""
        for machine, worker in self.workers.items():
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(120) is not None, self.said(machine)


@pytest.fixture
def fleet(
    three_machines: Network,
    server: PostgreSQL,
    tmp_path: Path,
    environment: dict[str, str],
) -> Iterator[Fleet]:
    """A study of three trials, and two workers in the middle of one each."""
    made = Fleet(three_machines, server, tmp_path, environment, f"fleet_{next(_NUMBERS)}")
    made.submit(EARLY)
    for machine in (FIRST, SECOND):
        made.work(machine)
    try:
        until(lambda: made.trains(FIRST) and made.trains(SECOND), made.all_said)
        yield made
    finally:
        three_machines.join(FIRST)
        for worker in made.workers.values():
            worker.kill()
            worker.wait()


def test_a_trial_behind_a_cut_link_is_taken_over_and_late_writes_change_nothing(
    fleet: Fleet, three_machines: Network, undisturbed: dict[object, object]
) -> None:
    (cut_off,) = fleet.units_of(FIRST)
    three_machines.cut(FIRST)
    until(lambda: cut_off in fleet.units_of(SECOND), fleet.all_said)
    until(lambda: fleet.are_done(EARLY), fleet.all_said)
    # The worker behind the cut link has trained on, and not been told: its trial is another's.
    until(lambda: "does not answer" in fleet.said(FIRST), fleet.all_said)
    before = fleet.results()
    three_machines.join(FIRST)
    until(lambda: "another worker has it now" in fleet.said(FIRST), fleet.all_said)
    assert fleet.results() == before
    assert fleet.ask(
        f"select attempts, deaths, outcome from lrsearch_units where number = {cut_off}"
    ) == [(2, 1, "complete")]
    # It works on.
    fleet.submit(ALL)
    until(lambda: fleet.are_done(ALL), fleet.all_said)
    assert any(int(str(number)) >= EARLY for number in fleet.units_of(FIRST))
    fleet.end()
    assert fleet.results() == undisturbed
    assert fleet.ends_of() == [("COMPLETE", 1, 6)] * ALL
    assert fleet.ask("select count(*) from lrsearch_units where number <> trial_number") == [(0,)]


def test_a_database_server_that_is_killed_and_started_again_costs_no_trial(
    fleet: Fleet, server: PostgreSQL, undisturbed: dict[object, object]
) -> None:
    owned = fleet.units_of(FIRST) | fleet.units_of(SECOND)
    server.kill()
    until(lambda: "does not answer" in fleet.said(FIRST), fleet.all_said)
    until(lambda: "does not answer" in fleet.said(SECOND), fleet.all_said)
    server.start()
    fleet.submit(ALL)
    until(lambda: fleet.are_done(ALL), fleet.all_said)
    fleet.end()
    assert fleet.results() == undisturbed
    assert fleet.ends_of() == [("COMPLETE", 1, 6)] * ALL
    assert len(owned) == 2
