"""Sweeps on a SLURM cluster of two nodes, whose jobs are disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import chaotic_training
import optuna
import pytest
from clusters.slurm_cluster import NODES, SlurmCluster, missing, routable_address, slurm_cluster
from command_line import run_sweep
from servers import NEWEST, PASSWORD, postgresql

REPO = Path(__file__).resolve().parents[2]
TRIALS, WORKERS = 12, 4
SECONDS = 0.75
"""Seconds of a step: three trials of a worker take longer than its job may."""
SWEEP = (
    "+sweep=digits", "study.name=slow", f"study.n_trials={TRIALS}", "sampler=random", "pruner=none",
    "objective._target_=slow.train", "train.epochs=60", "train.device=cpu",
)  # fmt: skip
ON_SLURM = (
    *SWEEP, f"+objective.seconds={SECONDS}", "launcher=slurm", f"workers={WORKERS}",
    "launcher.time=2", "launcher.extra={signal: USR1@40}", "launcher.mem=400", "queue.lease=20",
)  # fmt: skip
"""A job may run for two minutes, and is told to stop 40 to 70 seconds before."""

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A running cluster."""
    if reason := missing():
        if os.environ.get("LRSEARCH_CLUSTER_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def url(slurm: SlurmCluster) -> Iterator[str]:
    """An empty database that the nodes reach."""
    address = routable_address()
    assert address is not None
    with postgresql(NEWEST, address) as server:
        yield server.new_database("sweeps")


@pytest.fixture
def site(
    slurm: SlurmCluster, url: str, environment: dict[str, str], tmp_path: Path
) -> dict[str, str]:
    """The environment of a user on the login node, in a folder with the user's own code."""
    (tmp_path / "slow.py").write_text(Path(chaotic_training.__file__).read_text())
    path = f"{REPO}:{tmp_path}"
    return {**environment, **slurm.environment, "LRSEARCH_STORAGE": url, "PYTHONPATH": path}


@pytest.fixture
def start(site: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `lrsearch ARGUMENTS` there; its output goes to said.txt."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "said.txt").open("ab") as output:
            line = [sys.executable, "-m", "lrsearch", *arguments]
            started.append(
                subprocess.Popen(line, cwd=tmp_path, env=site, stdout=output, stderr=output)
            )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], said: Path, seconds: float = 300.0) -> None:
    """Wait for something to happen in the cluster."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"it does not happen:\n{said.read_text()}")
        time.sleep(1.0)


def values(url: str) -> dict[int, tuple[float | None, dict[int, float]]]:
    """Return value and curve of each trial by its number."""
    trials = optuna.load_study(study_name="slow", storage=url).trials
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
    return {trial.number: (trial.value, trial.intermediate_values) for trial in trials}


def trained(folder: Path, text: str) -> list[str]:
    """Return the ids of the jobs whose logs have a text."""
    logs = (folder / "outputs/slow/logs/slurm").glob("*_0_log.out")
    return [log.name.removesuffix("_0_log.out") for log in logs if text in log.read_text()]


def test_no_disturbance_loses_a_trial_or_changes_a_value(
    slurm: SlurmCluster,
    url: str,
    start: Callable[..., subprocess.Popen[bytes]],
    environment: dict[str, str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    (undisturbed / "slow.py").write_text(Path(chaotic_training.__file__).read_text())
    python_path = f"{REPO}:{undisturbed}"
    run_sweep(undisturbed, {**environment, "PYTHONPATH": python_path}, *SWEEP, "workers=2")

    said = tmp_path / "said.txt"
    sweep = start(*ON_SLURM)

    def running() -> dict[str, str]:
        return {job: node for job, (state, node) in slurm.jobs().items() if state == "RUNNING"}

    until(lambda: len(running()) == WORKERS and len(trained(tmp_path, "trial")) == WORKERS, said)
    assert {*running().values()} == {*NODES}
    warned, cancelled = (job for job, node in running().items() if node == NODES[0])
    slurm.command("scancel", "--signal=USR1", warned)
    slurm.command("scancel", cancelled)
    until(lambda: warned in trained(tmp_path, "handed back"), said)
    until(lambda: cancelled not in slurm.jobs(), said)
    slurm.command("scontrol", "update", f"nodename={NODES[1]}", "state=down", "reason=test")
    until(lambda: NODES[1] not in running().values(), said)

    until(lambda: sweep.poll() is not None, said, seconds=900.0)
    assert sweep.returncode == 0, said.read_text()
    results = values(url)
    assert sorted(results) == list(range(TRIALS))
    assert results == values(f"sqlite:///{undisturbed / 'lrsearch.db'}")
    assert slurm.jobs() == {}
    handed_back = trained(tmp_path, "handed back")
    assert warned in handed_back
    assert len(handed_back) >= WORKERS - 1  # all the others have met their time limit
    files = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    assert not [path for path in files if PASSWORD in path.read_text(errors="replace")]
    slurm.command("scontrol", "update", f"nodename={NODES[1]}", "state=resume")


def test_the_jobs_outlive_the_terminal_and_are_taken_over_by_the_same_command(
    slurm: SlurmCluster,
    start: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    said = tmp_path / "said.txt"
    command = (*ON_SLURM, "launcher.check=false", "workers=2")
    first = start(*command)
    until(lambda: len(trained(tmp_path, "trial")) == 2, said)
    jobs = {*slurm.jobs()}
    first.send_signal(signal.SIGHUP)
    assert first.wait(60) == 0
    assert {*slurm.jobs()} == jobs

    assert start("status", "slow").wait(60) == 0
    assert all(job in said.read_text() for job in jobs)
    second = start(*command)
    until(lambda: "goes on at" in said.read_text(), said)
    second.send_signal(signal.SIGINT)
    assert second.wait(120) == 130
    assert {*trained(tmp_path, "told to stop")} == jobs  # and no others were started
    assert slurm.jobs() == {}
    assert not [*tmp_path.rglob("password-*")]


def test_the_jobs_are_ended_from_another_terminal(
    slurm: SlurmCluster,
    start: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    said = tmp_path / "said.txt"
    sweep = start(*ON_SLURM, "launcher.check=false", "workers=2")
    until(lambda: len(trained(tmp_path, "trial")) == 2, said)
    assert start("stop", "slow", "--now").wait(60) == 0
    sweep.wait(120)
    assert slurm.jobs() == {}
    assert len(trained(tmp_path, "handed back")) == 2
    assert not [*tmp_path.rglob("password-*")]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("launcher.partition=nowhere", "invalid partition"),
        ("launcher.setup=[export LRSEARCH_STORAGE_PASSWORD_FILE=/nowhere]", "/nowhere"),
        ("storage.url=postgresql://me@localhost/sweeps", "localhost"),
        ("workers=auto", "workers"),
    ],
)
def test_what_keeps_the_nodes_from_working_is_said_before_anything_is_stored(
    start: Callable[..., subprocess.Popen[bytes]],
    slurm: SlurmCluster,
    tmp_path: Path,
    argument: str,
    words: str,
) -> None:
    key = argument.partition("=")[0]
    kept = [other for other in ON_SLURM if other.partition("=")[0] != key]
    done = start(*kept, argument)
    assert done.wait(240) == 2
    assert words in (tmp_path / "said.txt").read_text()
    assert slurm.jobs() == {}
    assert not (tmp_path / "outputs").exists()
