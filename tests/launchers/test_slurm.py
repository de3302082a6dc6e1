"""Jobs of SLURM, with programs in place of SLURM's that write down what they are given."""

from __future__ import annotations

import dataclasses
import getpass
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shop import TERMS, Shop
from sqlalchemy import update
from sqlalchemy.engine import URL

from lrsearch.cli.compose import load_configuration
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.launchers.base import JobState, News, Sweep, WorkersFailed
from lrsearch.launchers.slurm import Slurm
from lrsearch.queue.endings import Endings
from lrsearch.queue.jobs import Jobs, begun
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.states import WorkState
from lrsearch.storage.tables import TrialSlotRow
from lrsearch.study.follow_up import follow_up
from lrsearch.workers.locations import Locations

PASSWORD = "p@ss/w:rd%1"
URL_OF_NODES = URL.create("postgresql+psycopg", "me", PASSWORD, "db.example.org", 5432, "sweeps")
PROGRAM = """#!/bin/bash
printf '%s\\n' "$*" >> {folder}/{name}.calls
env > {folder}/{name}.environment
[ -e {folder}/{name}.fails ] && {{ cat {folder}/{name}.fails >&2; exit 1; }}
cat {folder}/{name}.answer 2>/dev/null
exit 0
"""
"""A program of SLURM that answers what is in its file."""
COLUMNS = (40, 20, 12, 80, 80)


class Cluster:
    """The programs of SLURM, in a folder of PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
            program = folder / name
            program.write_text(PROGRAM.format(folder=folder, name=name))
            program.chmod(0o755)
        self.answer("sbatch", "Submitted batch job 7")
        self.name("local")

    def name(self, name: str) -> None:
        """The name of the cluster, as `scontrol show config` has it."""
        self.answer("scontrol", f"ClusterName             = {name}")

    def answer(self, program: str, answer: str) -> None:
        (self.folder / f"{program}.answer").write_text(answer)

    def fail(self, program: str, words: str) -> None:
        (self.folder / f"{program}.fails").write_text(words)

    def calls(self, program: str) -> list[str]:
        file = self.folder / f"{program}.calls"
        return file.read_text().splitlines() if file.exists() else []

    def queue(self, *jobs: tuple[str, str, int, str, str]) -> None:
        """Jobs as squeue shows them: id, state, wait status, nodes, reason."""
        lines = (
            "".join(str(value).ljust(width) for value, width in zip(job, COLUMNS, strict=True))
            for job in jobs
        )
        self.answer("squeue", "\n".join(lines))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("LRSEARCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("lrsearch.launchers.slurm._POLL_SECONDS", 0.0)
    return made


@pytest.fixture
def said() -> list[str]:
    return []


class Units(Shop[TrialClaims]):
    """A study with trials."""

    kind, table = TrialClaims, TrialSlotRow


@pytest.fixture
def shop(url: str) -> Iterator[Units]:
    made = Units(url)
    made.queue.add([({}, number) for number in range(3)])
    yield made
    made.close()


@pytest.fixture
def sweep(shop: Units, tmp_path: Path, said: list[str]) -> Sweep:
    endings = Endings(shop.study_id, TERMS.max_attempts, follow_up)
    locations = Locations(URL_OF_NODES.render_as_string(hide_password=False))
    session = shop.database.session
    return Sweep(
        "one", shop.study_id, locations, tmp_path / "logs", session, shop.queue, endings,
        said.append,
    )  # fmt: skip


@pytest.fixture
def slurm(cluster: Cluster, sweep: Sweep) -> Slurm:
    made = Slurm(cpus=2, gpus_per_worker="a100:1", partition="long", time="04:00:00",
                 setup=["module load cuda"], extra={"exclude": "node7"})  # fmt: skip
    made.attach(sweep)
    return made


def script_of(sweep: Sweep) -> str:
    (script,) = (sweep.logs / "slurm").glob("*_submission.sh")
    return script.read_text()


def test_workers_are_submitted_as_an_array_with_what_they_need(
    slurm: Slurm, sweep: Sweep, cluster: Cluster, shop: Units
) -> None:
    slurm.start(3)
    script = script_of(sweep)
    for option in (
        "array=0-2%3", "cpus-per-task=2", "gpus-per-node=a100:1", "partition=long",
        "time=04:00:00", "exclude=node7", "requeue", "open-mode=append",
    ):  # fmt: skip
        assert f"#SBATCH --{option}\n" in script
    assert "\nmodule load cuda\n" in script
    assert len(cluster.calls("sbatch")) == 1
    rows = Jobs(shop.database.session, shop.study_id, "slurm").rows()
    assert [row.job_id for row in rows] == ["7_0", "7_1", "7_2"]
    assert [job.state for job in slurm.alive()] == [JobState.WAITING] * 3


def test_the_password_reaches_the_jobs_by_a_private_file_alone(
    slurm: Slurm, sweep: Sweep, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sweep.locations.url
    monkeypatch.setenv("LRSEARCH_STORAGE", url)
    slurm.start(2)
    (file,) = (sweep.logs / "slurm").glob("password-*")
    assert file.read_text() == f"{PASSWORD}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    environment = (cluster.folder / "sbatch.environment").read_text()
    assert f"LRSEARCH_STORAGE_PASSWORD_FILE={file}\n" in environment
    shown = [environment, *cluster.calls("sbatch"), script_of(sweep)]
    shown += [path.read_text(errors="replace") for path in file.parent.iterdir() if path != file]
    for secret in (PASSWORD, URL_OF_NODES.render_as_string(hide_password=False)):
        assert not [text for text in shown if secret in text]
    assert os.environ["LRSEARCH_STORAGE"] == url
    slurm.stop(slurm.alive())
    assert not file.exists()


def test_jobs_are_found_again_with_their_nodes_and_the_lost_ones_are_replaced(
    slurm: Slurm, cluster: Cluster, sweep: Sweep, said: list[str]
) -> None:
    slurm.start(3)
    cluster.queue(
        ("7_0", "RUNNING", 0, "n1", "None"),
        ("7_1", "PENDING", 0, "", "Resources"),
        ("7_2", "CANCELLED", 15, "n2", "None"),
        ("99", "RUNNING", 0, "n2", "None"),
    )
    another = Slurm()
    another.attach(sweep)
    another.watch(News())
    assert [(job.job_id, job.state, job.host) for job in another.alive()] == [
        ("7_0", JobState.RUNNING, "n1"),
        ("7_1", JobState.WAITING, None),
    ]
    (line,) = said
    assert "7_2" in line
    assert "cancelled" in line


def jobs_of_another(sweep: Sweep, shop: Units, address: dict[str, str]) -> Any:
    """A job that another user, or a process on another cluster, has submitted, and its claim."""
    sweep.jobs("slurm", address).add({"9_0": None})
    _, claim = shop.claim("n9")
    begun(shop.database.session, shop.study_id, "slurm/9_0", "n9/1/1.00", "n9")
    return claim


@pytest.mark.parametrize(
    "address", [{"cluster": "local", "user": "ada"}, {"cluster": "far", "user": getpass.getuser()}]
)
def test_jobs_of_other_users_and_clusters_are_left_alone(
    slurm: Slurm, cluster: Cluster, sweep: Sweep, shop: Units, address: dict[str, str]
) -> None:
    claim = jobs_of_another(sweep, shop, address)
    slurm.watch(News())
    assert shop.row(claim).owner == "n9/1/1.00"
    (row,) = sweep.jobs("slurm", address).rows()
    assert row.job_id == "9_0"


def test_who_only_looks_changes_nothing(cluster: Cluster, sweep: Sweep, shop: Units) -> None:
    address = {"cluster": "local", "user": "ada"}
    claim = jobs_of_another(sweep, shop, address)
    looking = Slurm(**address)
    looking.attach(dataclasses.replace(sweep, endings=None))
    looking.watch(News(is_stopping=True))
    assert looking.alive() == []
    assert any("--user=ada" in call for call in cluster.calls("squeue"))
    assert shop.row(claim).owner == "n9/1/1.00"
    assert [row.job_id for row in sweep.jobs("slurm", address).rows()] == ["9_0"]


def test_who_has_no_jobs_deletes_no_password_of_others(
    slurm: Slurm, cluster: Cluster, sweep: Sweep, shop: Units
) -> None:
    slurm.start(1)
    another = Slurm(user="ada")
    another.attach(sweep)
    another.stop(another.alive())
    assert len(list((sweep.logs / "slurm").glob("password-*"))) == 1
    with shop.database.session.begin() as session:
        session.execute(update(TrialSlotRow).values(state=WorkState.DONE))
    looking = Slurm(cluster="local", user="ada")
    looking.attach(dataclasses.replace(sweep, endings=None))
    looking.close()
    assert len(list((sweep.logs / "slurm").glob("password-*"))) == 1


def test_jobs_of_another_cluster_cannot_be_asked_here(cluster: Cluster, sweep: Sweep) -> None:
    with pytest.raises(UserError, match="SLURM cluster far"):
        Slurm(cluster="far", user="ada").attach(sweep)


def test_jobs_of_another_user_that_are_not_cancelled_are_told(
    cluster: Cluster, sweep: Sweep, shop: Units
) -> None:
    jobs_of_another(sweep, shop, {"cluster": "local", "user": "ada"})
    cluster.queue(("9_0", "RUNNING", 0, "n9", "None"))
    cluster.fail("scancel", "Access/permission denied for job 9_0")
    looking = Slurm(cluster="local", user="ada")
    looking.attach(dataclasses.replace(sweep, endings=None))
    looking.watch(News(is_stopping=True))
    with pytest.raises(UserError, match="ada"):
        looking.stop(looking.alive())


def test_jobs_stay_while_slurm_does_not_answer(slurm: Slurm, cluster: Cluster) -> None:
    slurm.start(2)
    cluster.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller")
    slurm.watch(News())
    assert len(slurm.alive()) == 2


@pytest.mark.parametrize(
    ("code", "count", "fails"), [(2, 1, True), (1, 1, False), (1, 3, True), (3, 3, True),
                                 (75, 3, False), (70, 3, False)],
)  # fmt: skip
def test_a_sweep_is_given_up_when_its_workers_cannot_work(
    slurm: Slurm, cluster: Cluster, sweep: Sweep, code: int, count: int, fails: bool
) -> None:
    slurm.start(count)
    jobs = [job.job_id for job in slurm.alive()]
    for job in slurm.alive():
        assert job.log is not None
        Path(job.log).write_text("no module named mypkg\n")
    cluster.queue(*((job, "FAILED", code << 8, "n1", "NonZeroExitCode") for job in jobs))
    if not fails:
        slurm.watch(News())
        assert slurm.alive() == []
        return
    with pytest.raises(WorkersFailed, match="no module named mypkg"):
        slurm.watch(News())


def test_the_work_of_a_job_that_has_ended_is_open_again_at_once(
    slurm: Slurm, cluster: Cluster, shop: Units
) -> None:
    slurm.start(1)
    (job,) = slurm.alive()
    _, claim = shop.claim("n1")
    begun(shop.database.session, shop.study_id, f"slurm/{job.job_id}", "n1/1/1.00", "n1")
    cluster.queue((job.job_id, "NODE_FAIL", 0, "n1", "None"))
    slurm.watch(News())
    row = shop.row(claim)
    assert (row.owner, row.deaths) == (None, 0)


def test_jobs_that_wait_are_cancelled_when_nothing_is_left(
    slurm: Slurm, cluster: Cluster, shop: Units
) -> None:
    slurm.start(2)
    cluster.queue(
        ("7_0", "RUNNING", 0, "n1", "None"), ("7_1", "PENDING", 0, "", "BeginTime")
    )  # fmt: skip
    slurm.watch(News())
    assert cluster.calls("scancel") == []
    with shop.database.session.begin() as session:
        session.execute(update(TrialSlotRow).values(state=WorkState.DONE))
    slurm.watch(News())
    assert cluster.calls("scancel") == ["7_1"]


def test_jobs_are_cancelled_once_and_killed_at_the_second_time(
    slurm: Slurm, cluster: Cluster
) -> None:
    slurm.start(1)
    for at_once in (False, False, True, True):
        slurm.stop(slurm.alive(), at_once)
    assert cluster.calls("scancel") == ["7", "--full --signal=KILL 7"]


def test_what_sbatch_refuses_is_said(slurm: Slurm, cluster: Cluster, sweep: Sweep) -> None:
    cluster.fail("sbatch", "sbatch: error: invalid account")
    with pytest.raises(WorkersFailed, match="invalid account"):
        slurm.start(1)
    assert not [*(sweep.logs / "slurm").glob("password-*")]


@pytest.mark.parametrize(
    ("state", "code", "again"),
    [
        ("RUNNING None", 75, True),  # handed back before the time limit
        ("RUNNING None", 70, True),  # a training stalled
        ("RUNNING None", 138, True),  # SIGUSR1 before the worker listened
        ("COMPLETING TimeLimit", 143, True),  # it was too slow to hand back
        ("COMPLETING None", 75, False),  # cancelled, or preempted: SLURM queues it again
        ("PENDING None", 143, False),  # the node failed: it is queued already
        ("RUNNING None", 0, False),
        ("RUNNING None", 2, False),
        ("RUNNING None", 3, False),
    ],
)
def test_the_script_of_a_job_queues_it_again_where_work_is_left(
    slurm: Slurm, cluster: Cluster, sweep: Sweep, state: str, code: int, again: bool
) -> None:
    slurm.start(2)
    run_script(cluster, sweep, state, code)
    assert requeued(cluster) == (["requeue 7_1"] if again else [])


def test_the_script_of_a_job_whose_worker_dies_gives_up_at_the_third_time(
    slurm: Slurm, cluster: Cluster, sweep: Sweep
) -> None:
    slurm.start(2)
    for _ in range(4):
        run_script(cluster, sweep, "RUNNING None", 139)
    assert requeued(cluster) == ["requeue 7_1"] * 2


@pytest.mark.parametrize(
    ("state", "code", "array", "kept"),
    [
        ("RUNNING None", 0, "7_1\n7_0", True),  # the other job may start again
        ("RUNNING None", 0, "7_1", False),
        ("RUNNING None", 75, "7_1", True),  # it starts again
        ("COMPLETING None", 75, "7_1", True),  # it was preempted, and SLURM starts it again
    ],
)
def test_the_last_job_of_an_array_deletes_its_password(
    slurm: Slurm, cluster: Cluster, sweep: Sweep, state: str, code: int, array: str, kept: bool
) -> None:
    slurm.start(2)
    (file,) = (sweep.logs / "slurm").glob("password-*")
    run_script(cluster, sweep, state, code, array)
    assert file.exists() == kept


def test_a_job_whose_request_to_be_queued_again_is_cut_short_keeps_its_password(
    slurm: Slurm, cluster: Cluster, sweep: Sweep
) -> None:
    slurm.start(2)
    (file,) = (sweep.logs / "slurm").glob("password-*")
    (cluster.folder / "scontrol").write_text("#!/bin/bash\nkill -TERM $$\n")
    run_script(cluster, sweep, "RUNNING None", 75, "7_1")
    assert file.exists()


def requeued(cluster: Cluster) -> list[str]:
    return [call for call in cluster.calls("scontrol") if call.startswith("requeue")]


def run_script(
    cluster: Cluster, sweep: Sweep, state: str, code: int, array: str = "7_0\n7_1"
) -> None:
    """Run the script of the array's second job, whose worker ends with an exit code.

    `state` and `array` are what squeue says of the job and of all jobs of the array.
    """
    squeue = f'case "$*" in *--array*) echo "{array}" ;; *) echo "{state}" ;; esac'
    (cluster.folder / "squeue").write_text(f"#!/bin/bash\n{squeue}\n")
    (cluster.folder / "srun").write_text(f"#!/bin/bash\nexit {code}\n")
    job = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}
    script = script_of(sweep).replace("module load cuda", "set -e")
    done = subprocess.run(["bash", "-c", script], env={**os.environ, **job}, capture_output=True)
    assert done.returncode == code


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"time": "4 hours"}, "launcher.time"),
        *(({"time": limit}, "launcher.time") for limit in (3, "2", "2:30", "00:03:00", "0-0:03")),
        ({"time": "01:00:00", "extra": {"signal": "USR1@3600"}}, "launcher.time"),
    ],
)
def test_wrong_options_are_refused(cluster: Cluster, options: dict[str, Any], words: str) -> None:
    configuration = load_configuration(["+sweep=digits", "launcher=slurm", "workers=2"])
    with pytest.raises(ConfigErrors) as refused:
        Slurm(check=False, **options).check(configuration.settings, configuration.runtime)
    assert words in str(refused.value)


def test_a_study_whose_trials_are_sized_for_a_gpu_asks_slurm_for_one(cluster: Cluster) -> None:
    needs = ["+sweep=digits", "launcher=slurm", "workers=2", "study.needs.gpu_memory=40"]
    configuration = load_configuration(needs)
    slurm = Slurm(check=False)
    slurm.check(configuration.settings, configuration.runtime)
    assert "GPUs 1" in slurm.describe()


@pytest.mark.parametrize("limit", [4, "30", "4:00", "00:10:00", "1-0", "0-1:00", "7-12:30:00"])
def test_limits_of_slurm_that_leave_time_to_work_are_taken(
    cluster: Cluster, limit: int | str
) -> None:
    configuration = load_configuration(["+sweep=digits", "launcher=slurm", "workers=2"])
    Slurm(check=False, time=limit).check(configuration.settings, configuration.runtime)


def test_a_database_that_nodes_cannot_reach_and_an_unknown_number_of_jobs_are_refused_together(
    cluster: Cluster,
) -> None:
    configuration = load_configuration(["+sweep=digits", "launcher=slurm"])
    with pytest.raises(ConfigErrors) as refused:
        Slurm().check(configuration.settings, configuration.runtime)
    assert "storage.url" in str(refused.value)
    assert "workers" in str(refused.value)
    assert cluster.calls("srun") == []
