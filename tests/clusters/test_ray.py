"""Sweeps on a real Ray cluster of two nodes."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import chaotic_training
import psutil
import pytest
from clusters.ray_cluster import RayCluster, ray_cluster
from command_line import run_sweep

if os.environ.get("LRSEARCH_CLUSTER_REQUIRED") != "1":
    pytest.importorskip("ray", reason="the package ray is missing: pip install 'lrsearch[ray]'")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900), pytest.mark.xdist_group("ray")]

TIMEOUT = 300.0
TOKEN = "c2VjcmV0IG9mIGEgdGVzdA"
"""A secret that workers get from the environment of the command, as they get the password."""
SWEEP = (
    "+sweep=digits", "study.name=s", "objective._target_=slow.train", "sampler=random",
    "pruner=none", "study.n_trials=6", "train.epochs=60", "train.device=cpu", "queue.lease=10",
)  # fmt: skip
SLOW_SWEEP = (*SWEEP, "+objective.seconds=0.25", "workers=2")
ENDLESS_SWEEP = (*SLOW_SWEEP, "train.epochs=10000")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster() as cluster:
        yield cluster


@pytest.fixture
def nodes(cluster: RayCluster) -> Iterator[list[Any]]:
    """Two nodes of the cluster; those that a test adds to the list end with it, too."""
    nodes = [cluster.add_node(), cluster.add_node()]
    yield nodes
    for node in nodes:
        cluster.lose_node(node)


class Terminal:
    """A terminal in a folder of its own."""

    def __init__(self, folder: Path, cluster: RayCluster) -> None:
        self.folder, self.cluster = folder, cluster
        self.environment = {**os.environ, "SEEN": str(folder), "TOKEN": TOKEN}
        self.commands: list[subprocess.Popen[str]] = []

    def sweep(self, *words: str) -> subprocess.Popen[str]:
        """Start a sweep on the cluster."""
        launcher = (
            "launcher=ray",
            f"launcher.address={self.cluster.address}",
            "launcher.env=[SEEN]",
        )
        return self.start(*launcher, *words)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        process = subprocess.Popen(
            [sys.executable, "-m", "lrsearch", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.commands.append(process)
        return process

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        file = self.folder / "lrsearch.db"
        if not file.exists():
            return []
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as connection:
            try:
                return connection.execute(statement).fetchall()
            except sqlite3.OperationalError:
                return []  # its tables are not made yet

    def running(self) -> int:
        """The number of trials that run and have reported."""
        statement = (
            "SELECT count(DISTINCT u.unit_id) FROM lrsearch_units u JOIN lrsearch_epochs e "
            "ON e.trial_id = u.trial_id WHERE u.state = 'running'"
        )
        return sum(number for (number,) in self.query(statement))

    def values(self) -> list[tuple[Any, ...]]:
        return self.query(
            "SELECT number, value, outcome FROM lrsearch_units WHERE state = 'done' ORDER BY number"
        )


@pytest.fixture
def terminal(cluster: RayCluster, tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "slow.py").write_text(Path(chaotic_training.__file__).read_text())
    terminal = Terminal(tmp_path, cluster)
    yield terminal
    for process in terminal.commands:
        if process.poll() is None:
            process.kill()
            print(process.communicate()[0])


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


def ended(process: subprocess.Popen[str]) -> str:
    """What a command printed until its end, without an error."""
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output
    return output


def workers() -> list[psutil.Process]:
    """The worker processes and actors below this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if "worker" in words[2:5] or "".join(words[:1]).startswith("ray::WorkerActor"):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The values of the sweep with one worker of this machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "slow.py").write_text(Path(chaotic_training.__file__).read_text())
    run_sweep(folder, dict(os.environ), *SWEEP, "workers=1")
    with closing(sqlite3.connect(folder / "lrsearch.db")) as connection:
        statement = "SELECT number, value, outcome FROM lrsearch_units ORDER BY number"
        return connection.execute(statement).fetchall()


def test_a_lost_node_and_a_new_one_change_no_value(
    terminal: Terminal,
    cluster: RayCluster,
    nodes: list[Any],
    undisturbed: list[tuple[Any, ...]],
) -> None:
    sweep = terminal.sweep(*SLOW_SWEEP)
    wait_until(lambda: terminal.running() == 2)
    cluster.lose_node(nodes.pop())
    nodes.append(cluster.add_node())
    printed = ended(sweep)
    assert terminal.values() == undisturbed, printed
    assert len(undisturbed) == 6
    deaths = terminal.query("SELECT sum(deaths) FROM lrsearch_units")
    assert deaths == [(1,)]  # the trial of the lost node alone was taken over
    assert terminal.query("SELECT * FROM lrsearch_jobs") == []
    assert workers() == []


def test_workers_share_a_gpu(terminal: Terminal, cluster: RayCluster, nodes: list[Any]) -> None:
    nodes.append(cluster.add_node(cpus=2, gpus=1))
    sweep = terminal.sweep(
        *SLOW_SWEEP, "study.n_trials=2", "launcher.gpus_per_worker=0.5"
    )  # fmt: skip
    printed = ended(sweep)
    assert [outcome for _, _, outcome in terminal.values()] == ["complete"] * 2
    seen = [path.read_text() for path in terminal.folder.glob("*.seen")]
    assert seen == ["0", "0"], printed


def test_ctrl_c_hands_the_trials_back_and_leaves_no_secret(
    terminal: Terminal, cluster: RayCluster, nodes: list[Any]
) -> None:
    sweep = terminal.sweep(*ENDLESS_SWEEP)
    wait_until(lambda: terminal.running() == 2)
    assert not any(TOKEN in word for process in workers() for word in process.cmdline())
    sweep.send_signal(signal.SIGINT)
    printed, _ = sweep.communicate(timeout=TIMEOUT)
    assert sweep.returncode == 130
    assert terminal.query("SELECT DISTINCT state, deaths FROM lrsearch_units") == [("open", 0)]
    assert terminal.query("SELECT * FROM lrsearch_jobs") == []
    assert workers() == []
    assert TOKEN not in printed
    files = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)


def test_a_closed_terminal_leaves_the_workers_and_another_one_stops_them(
    terminal: Terminal, nodes: list[Any]
) -> None:
    sweep = terminal.sweep(*ENDLESS_SWEEP)
    wait_until(lambda: terminal.running() == 2)
    sweep.send_signal(signal.SIGHUP)
    ended(sweep)
    assert len(workers()) == 4  # with their actors
    assert "running" in ended(terminal.start("status", "s"))
    ended(terminal.start("stop", "s", "--now"))
    wait_until(lambda: not workers())
    assert terminal.query("SELECT DISTINCT state, deaths FROM lrsearch_units") == [("open", 0)]


HANGS = """
import ctypes, os, time
from pathlib import Path

def objective(recipe, report):
    report(1, 1.0)
    mark = Path(os.environ["SEEN"]) / "hung"
    if not mark.exists():
        mark.touch()
        ctypes.PyDLL(None).sleep(1000)  # holding the lock of the interpreter
    report(2, recipe.lr)
"""


def test_a_cluster_can_be_used_from_outside(
    terminal: Terminal, cluster: RayCluster, nodes: list[Any]
) -> None:
    address = f"launcher.address={cluster.client_address}"
    ended(terminal.start(*SLOW_SWEEP, "launcher=ray", address, "launcher.env=[SEEN]",
                         "study.n_trials=2"))  # fmt: skip
    assert [outcome for _, _, outcome in terminal.values()] == ["complete"] * 2


def test_a_stalled_worker_is_replaced(terminal: Terminal, nodes: list[Any]) -> None:
    (terminal.folder / "hangs.py").write_text(HANGS)
    printed = ended(
        terminal.sweep(
            "+sweep=digits", "objective._target_=hangs.objective", "sampler=random", "pruner=none",
            "study.n_trials=2", "study.name=s", "workers=1", "queue.stall_timeout=10",
            "queue.lease=10",
        )
    )  # fmt: skip
    assert [outcome for _, _, outcome in terminal.values()] == ["complete"] * 2
    logs = [path.read_text() for path in (terminal.folder / "outputs/s/logs").iterdir()]
    assert any("made no progress" in log for log in logs), printed
