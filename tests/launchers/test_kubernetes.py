"""Workers as Jobs of Kubernetes, against a stand-in for its API server (`kubernetes_server`)."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_server import NAMESPACE, FakeCluster, fake_cluster
from kustomize import MANIFESTS, build, find
from sqlalchemy import select
from told_sweep import ToldSweep, digits

from lrsearch.errors import ConfigErrors, UserError
from lrsearch.launchers import build_launcher
from lrsearch.launchers.base import JobState, Launcher, News, Sweep, WorkersFailed
from lrsearch.launchers.kubernetes import Kubernetes
from lrsearch.launchers.kubernetes_job import PodOptions, Work, indexes, merge_patch, render, slug
from lrsearch.queue.endings import Endings
from lrsearch.queue.jobs import Jobs, begun
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.registry import ComponentConfig
from lrsearch.settings import RuntimeSettings
from lrsearch.states import Outcome, WorkState
from lrsearch.storage.tables import JobRow, TrialSlotRow
from lrsearch.study.follow_up import follow_up
from lrsearch.workers.locations import Locations

URL = "postgresql+psycopg://me:s3cret-word@db.example.org/lrsearch"
PLAIN_URL = "postgresql+psycopg://me@db.example.org/lrsearch"
IMAGE = "registry.example.org/lrsearch:1"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    """A cluster that is kubectl's, and is looked at as often as the launcher is asked."""
    with fake_cluster() as cluster:
        path = str(cluster.kubeconfig(tmp_path))
        monkeypatch.setenv("KUBECONFIG", path)
        monkeypatch.setattr(
            "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", path
        )  # read from the environment when the module is imported
        monkeypatch.setattr("lrsearch.launchers.kubernetes._POLL_SECONDS", 0.0)
        yield cluster


class Run:
    """A sweep of six trials, and a launcher that serves it as the supervisor would."""

    def __init__(self, url: str, workers: int, **options: Any) -> None:
        self.told = ToldSweep(url)
        self.said: list[str] = []
        self.session = self.told.database.session
        self.options = options
        self.checkpoints: str | None = options.pop("checkpoints", "s3://bucket/checkpoints")
        self.launcher = self.attached(workers)
        self.turn()

    def runtime(self, workers: int) -> RuntimeSettings:
        return RuntimeSettings(URL, None, workers, "outputs", False)

    def attached(self, workers: int | None) -> Kubernetes:
        """A launcher as of the sweep's command; without `workers` as of another process."""
        if workers is None:
            launcher = Kubernetes(namespace=NAMESPACE)
        else:
            launcher = Kubernetes(image=IMAGE, **self.options)
            launcher.check(self.told.settings, self.runtime(workers))
        launcher.attach(
            Sweep(
                name=self.told.name,
                study_id=self.told.study_id,
                locations=Locations(URL, self.checkpoints),
                logs=Path("logs"),
                session_of=self.session,
                queue=self.told.queue,
                endings=Endings(self.told.study_id, 3, follow_up),
                say=self.said.append,
            )
        )
        return launcher

    def rows(self) -> list[JobRow]:
        return Jobs(self.session, self.told.study_id, "kubernetes").rows()

    def turn(self, *, is_stopping: bool = False, ended_well: bool = False) -> None:
        self.launcher.watch(News(is_stopping, ended_well))

    def stop(self, *, at_once: bool = False) -> None:
        self.launcher.stop(self.launcher.alive(), at_once)

    def begin(self, pod: str, owner: str) -> TrialClaims:
        """The worker in a pod begins, and claims a trial."""
        job_id = pod.rpartition("-")[0]
        begun(self.session, self.told.study_id, f"kubernetes/{job_id}", f"{owner}/7/1.00", job_id)
        claims = TrialClaims(
            self.session,
            self.told.study_id,
            f"{owner}/7/1.00",
            follow_up,
            self.told.settings.queue,
        )
        assert claims.claim(take_over=False) is not None
        return claims

    def running(self) -> list[TrialSlotRow]:
        with self.session() as session:
            query = select(TrialSlotRow).where(TrialSlotRow.state == WorkState.RUNNING)
            return list(session.scalars(query))


@pytest.fixture
def run(url: str, cluster: FakeCluster) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(workers: int = 2, **options: Any) -> Run:
        made.append(Run(url, workers, **options))
        return made[-1]

    yield make
    for one in made:
        one.launcher.close()
        one.told.close()


@pytest.fixture
def at_work(run: Callable[..., Run], cluster: FakeCluster) -> Callable[[int], Run]:
    """A sweep with that many workers, whose pods all run."""

    def make(workers: int) -> Run:
        sweep = run(workers=workers)
        sweep.launcher.start(workers)
        cluster.run()
        return sweep

    return make


def work(**changes: Any) -> Work:
    plain = Work("lrsearch-mnist-1", "mnist", "abc-1", 3, ["worker", "--until-empty"], {}, "safe")
    return dataclasses.replace(plain, **changes)


# The manifest.


def test_the_job_is_the_packaged_manifest_with_names_numbers_and_options() -> None:
    packaged = yaml.safe_load((MANIFESTS / "workers" / "job.yaml").read_text())
    options = PodOptions(
        IMAGE, gpus=2, cpus="4", mem="16Gi", node_selector={"gpu": "a100"},
        tolerations=[{"key": "gpu", "operator": "Exists"}], service_account="trainer",
        env_from=["s3-keys"], data_claim="data", checkpoints_claim="checkpoints",
        extra={"spec": {"template": {"spec": {"priorityClassName": "low"}}}},
    )  # fmt: skip
    job = render(work(environment={"LRSEARCH_STORAGE": PLAIN_URL}), options)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    assert job["spec"]["podFailurePolicy"] == packaged["spec"]["podFailurePolicy"]
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (3, 3)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["args"][:2] == ["worker", "--until-empty"]
    resources = container["resources"]
    assert resources["requests"] == {"cpu": "4", "memory": "16Gi"}
    assert resources["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "2"}
    assert pod["nodeSelector"] == {"gpu": "a100"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert pod["serviceAccountName"] == "trainer"
    assert pod["priorityClassName"] == "low"
    assert {"secretRef": {"name": "s3-keys"}} in container["envFrom"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"data": "data", "checkpoints": "checkpoints"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert (mounts["data"], mounts["checkpoints"]) == ("/data", "/data/checkpoints")
    assert {volume["name"] for volume in pod["volumes"]} == mounts.keys()


def test_a_database_without_a_password_needs_no_secret() -> None:
    job = render(work(secret=None), PodOptions(IMAGE))
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    assert "secretName" not in yaml.safe_dump(job)
    assert "PASSWORD" not in yaml.safe_dump(job)


def test_a_dollar_in_a_variable_names_no_other_variable() -> None:
    """https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/"""
    job = render(work(environment={"LRSEARCH_STORAGE": "x$(HOME)"}), PodOptions(IMAGE))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "LRSEARCH_STORAGE", "value": "x$$(HOME)"} in container["env"]


def test_a_merge_patch_changes_adds_and_removes() -> None:
    """Examples of RFC 7386, appendix A."""
    assert merge_patch({"a": "b"}, {"a": "c"}) == {"a": "c"}
    assert merge_patch({"a": "b", "b": "c"}, {"a": None}) == {"b": "c"}
    assert merge_patch({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert merge_patch({"a": [{"b": "c"}]}, {"a": [1]}) == {"a": [1]}
    assert merge_patch({"a": "foo"}, {"b": {"c": None}}) == {"a": "foo", "b": {}}


def test_names_of_sweeps_become_names_of_jobs() -> None:
    assert slug("MNIST: a first try") == "mnist-a-first-try"
    assert slug("日本") == "sweep"
    assert len(slug("x" * 100)) <= 30
    assert not slug("a" * 29 + "--b").endswith("-")


def test_indexes_of_a_status_are_read() -> None:
    assert indexes("0,3-5,9") == {0, 3, 4, 5, 9}
    assert indexes("") == indexes(None) == set()


# Checks before anything is stored.


def test_all_that_is_wrong_with_the_options_is_said_at_once(cluster: FakeCluster) -> None:
    settings = digits()
    launcher = Kubernetes(storage="sqlite:///x.db")
    runtime = RuntimeSettings("postgresql+psycopg://localhost/x", None, "auto", "outputs", False)
    with pytest.raises(ConfigErrors) as raised:
        launcher.check(settings, runtime)
    message = str(raised.value)
    for key in ("workers", "launcher.image", "launcher.storage"):
        assert key in message
    assert cluster.calls == []


def test_a_password_for_pods_comes_by_a_secret_and_never_as_an_option(
    cluster: FakeCluster,
) -> None:
    launcher = Kubernetes(image=IMAGE, storage="postgresql://me:hunter2@inside/lrsearch")
    with pytest.raises(ConfigErrors, match=r"launcher\.storage holds a password") as raised:
        launcher.check(digits(), RuntimeSettings(URL, None, 2, "outputs", False))
    assert "hunter2" not in str(raised.value)


def test_a_job_that_the_server_would_refuse_is_found_before_anything_is_stored(
    url: str, cluster: FakeCluster
) -> None:
    for options, forbidden, words in (
        ({"extra": {"spec": {"parallelysm": 3}}}, None, "parallelysm"),
        ({"namespace": "elsewhere"}, None, "elsewhere"),
        ({}, ("create", "jobs"), "forbidden"),
        ({}, ("create", "secrets"), "forbidden"),
    ):
        cluster.forbidden = {forbidden} if forbidden else set()
        with pytest.raises(UserError, match=words):
            Run(url, 2, **options)
    assert not cluster.jobs
    assert not cluster.secrets


def test_an_api_server_that_does_not_answer_is_named(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
    configuration = {
        "clusters": [{"name": "gone", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "gone", "user": "me"}}],
        "current-context": "x",
    }
    file = tmp_path / "config"
    file.write_text(json.dumps(configuration))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    with pytest.raises(UserError, match=f"{server} does not answer"):
        Run(url, 2)


def test_without_a_cluster_it_says_what_to_set_up(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none")
    )
    with pytest.raises(UserError, match="kubectl"):
        Run(url, 2)


# The life of a sweep.


def test_workers_get_a_job_with_an_index_each_and_the_password_by_a_secret_alone(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run(workers=3)
    assert sweep.launcher.most() == 3
    assert not cluster.jobs  # `check` has created nothing
    sweep.launcher.start(3)
    (job,) = cluster.jobs.values()
    (secret,) = cluster.secrets.values()
    assert job["spec"]["completions"] == 3
    assert "s3cret" not in str(job)
    assert secret["stringData"] == {"password": "s3cret-word"}
    assert secret["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    pod = job["spec"]["template"]["spec"]
    (volume,) = [one for one in pod["volumes"] if "secret" in one]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    (container,) = pod["containers"]
    assert {"name": "LRSEARCH_STORAGE", "value": PLAIN_URL} in container["env"]
    assert container["args"][:4] == ["worker", "--sweep", "digits", "--until-empty"]
    rows = sweep.rows()
    name = job["metadata"]["name"]
    assert [row.job_id for row in rows] == [f"{name}-{index}" for index in range(3)]
    assert rows[0].log is not None
    assert rows[0].log.startswith(f"kubectl --namespace={NAMESPACE} logs")
    assert "s3cret" not in str([vars(row) for row in rows])


def test_checkpoints_in_an_object_store_are_passed_on(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    shared = run()
    shared.launcher.start(1)
    (job,) = cluster.jobs.values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variable = {"name": "LRSEARCH_CHECKPOINTS", "value": "s3://bucket/checkpoints"}
    assert variable in container["env"]
    assert shared.said == []
    shared.stop()


@pytest.mark.parametrize("claim", [{}, {"checkpoints_claim": "shared"}, {"data_claim": "shared"}])
def test_checkpoints_that_a_pod_has_alone_are_told_once(
    run: Callable[..., Run], cluster: FakeCluster, claim: dict[str, str]
) -> None:
    sweep = run(checkpoints="/home/me/checkpoints", **claim)
    sweep.launcher.start(1)
    sweep.launcher.start(1)
    assert "/home/me" not in str(cluster.jobs)
    assert sum("each pod's own" in line for line in sweep.said) == (not claim)


def test_a_function_that_only_this_machine_has_is_refused(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run()
    own = dataclasses.replace(sweep.launcher._sweep, environment={"LRSEARCH_FUNCTION": "x"})
    with pytest.raises(UserError, match="module"):
        sweep.launcher.attach(own)


def test_a_secret_of_the_users_own_is_used_and_none_is_made(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run(secret="mine", storage="postgresql://me@inside/lrsearch")
    sweep.launcher.start(1)
    (job,) = cluster.jobs.values()
    assert not cluster.secrets
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "LRSEARCH_STORAGE", "value": "postgresql://me@inside/lrsearch"} in container[
        "env"
    ]
    assert "'secretName': 'mine'" in str(job)


def test_workers_are_shown_with_their_state_and_node(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run()
    sweep.launcher.start(2)
    assert [job.state for job in sweep.launcher.alive()] == [JobState.WAITING] * 2
    first, _ = sorted(cluster.waiting())
    cluster.run(first, node="node-7")
    sweep.turn()
    running, waiting = sorted(sweep.launcher.alive(), key=lambda job: job.job_id)
    assert (running.state, running.host, running.is_starting) == (JobState.RUNNING, "node-7", True)
    assert (waiting.state, waiting.host) == (JobState.WAITING, None)
    sweep.begin(first, "machine-1")
    sweep.turn()
    (running, _) = sorted(sweep.launcher.alive(), key=lambda job: job.job_id)
    assert (running.owner, running.is_starting) == ("machine-1/7", False)


def test_workers_that_are_done_are_not_replaced(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(2)
    for pod in cluster.running():
        cluster.end(pod, 0)
    cluster.replace()
    sweep.turn()
    assert sweep.launcher.alive() == []
    assert sweep.rows() == []
    assert sweep.said == []


@pytest.mark.parametrize("code", [75, 70])
def test_a_worker_that_hands_its_work_back_or_hangs_is_replaced_as_often_as_it_takes(
    run: Callable[..., Run], cluster: FakeCluster, code: int
) -> None:
    sweep = run(workers=1)
    sweep.launcher.start(1)
    for _ in range(12):
        cluster.run()
        (pod,) = cluster.running()
        cluster.end(pod, code)
        sweep.turn()
        assert len(sweep.launcher.alive()) == 1
        cluster.replace()
    cluster.run()
    sweep.turn()
    assert [job.state for job in sweep.launcher.alive()] == [JobState.RUNNING]
    assert len(sweep.rows()) == 1


def test_evictions_and_preemptions_never_end_a_worker_for_good(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run(workers=1)
    sweep.launcher.start(1)
    for code in (75, 137, 1, 3, 75, 137, 137, 137, 137, 137):
        cluster.run()
        (pod,) = cluster.running()
        cluster.evict(pod, code)
        sweep.turn()
        assert [job.state for job in sweep.launcher.alive()] == [JobState.WAITING]
        cluster.replace()
    assert not any("cannot work" in line for line in sweep.said)


def test_a_worker_that_dies_leaves_its_trial_to_others_at_once(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(1)
    (pod,) = cluster.running()
    sweep.turn()
    sweep.begin(pod, "machine-1")
    assert len(sweep.running()) == 1
    cluster.end(pod, 139)
    sweep.turn()
    assert sweep.running() == []
    with sweep.session() as session:
        assert sorted(session.scalars(select(TrialSlotRow.deaths))) == [0, 0, 0, 0, 0, 1]


def test_a_worker_whose_memory_ran_out_ends_its_trial_as_infeasible(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(1)
    (pod,) = cluster.running()
    sweep.turn()
    sweep.begin(pod, "machine-1")
    cluster.end(pod, 137, "OOMKilled")
    sweep.turn()
    assert sweep.told.queue.outcomes() == {Outcome.OUT_OF_MEMORY: 1}


def test_the_work_of_a_replacement_is_never_taken_for_that_of_the_dead_one(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(1)
    (pod,) = cluster.running()
    sweep.turn()
    cluster.end(pod, 1)
    cluster.replace()  # before the launcher looks
    cluster.run()
    (pod,) = cluster.running()
    sweep.begin(pod, "machine-2")
    sweep.turn()
    assert len(sweep.running()) == 1


def test_a_pod_on_a_node_that_is_silent_is_given_up_so_that_others_start(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run()
    sweep.launcher.start(2)
    for node, pod in enumerate(sorted(cluster.waiting())):
        cluster.run(pod, node=f"node-{node}")
    sweep.turn()
    cluster.lose_node("node-0", ago=timedelta(seconds=-100))  # it may still be saving its trial
    sweep.turn()
    assert len(sweep.launcher.alive()) == 2
    cluster.lose_node("node-0", ago=timedelta(minutes=10))
    sweep.turn()
    assert [job.host for job in sweep.launcher.alive()] == ["node-1"]
    assert len(sweep.rows()) == 1


def test_a_wrong_command_ends_the_sweep_with_the_log(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(2)
    cluster.end(cluster.running()[0], 2, log="starting\nthe password is wrong: s3cret-word")
    with pytest.raises(WorkersFailed, match="the password is wrong") as raised:
        sweep.turn()
    assert "exit code 2" in str(raised.value)


def test_workers_that_die_before_they_finish_anything_end_the_sweep(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(3)
    first, second, third = cluster.running()
    cluster.end(first, 1, log="one")
    cluster.end(second, 139, log="two")
    sweep.turn()
    assert sum("Kubernetes replaces it" in line for line in sweep.said) == 2
    cluster.end(third, 1, log="three")
    with pytest.raises(WorkersFailed, match="cannot work"):
        sweep.turn()


def test_deaths_between_trials_that_end_well_do_not_add_up(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run(workers=1)
    sweep.launcher.start(1)
    for _ in range(5):
        cluster.run()
        cluster.end(cluster.running()[0], 1)
        sweep.turn(ended_well=True)
        cluster.replace()
    assert len(sweep.launcher.alive()) == 1


def test_a_worker_that_refuses_is_not_replaced_and_the_others_go_on(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(2)
    first, second = cluster.running()
    cluster.end(first, 3, log="digits needs 40 GB of GPU memory, and this card has 16")
    cluster.replace()
    sweep.turn()
    assert len(sweep.launcher.alive()) == 1
    assert sweep.launcher.most() == 1
    assert "can do none of the work" in "".join(sweep.said)
    cluster.end(second, 3, log="digits needs 40 GB of GPU memory, and this card has 16")
    with pytest.raises(WorkersFailed, match="needs 40 GB"):
        sweep.turn()


def test_a_pod_that_waits_for_what_may_never_come_is_told_once(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run()
    sweep.launcher.start(2)
    for pod in cluster.waiting():
        cluster.block(pod, "ImagePullBackOff", f"Back-off pulling image {IMAGE}")
    sweep.turn()
    sweep.turn()
    (line,) = sweep.said
    assert "ImagePullBackOff" in line
    assert IMAGE in line


# Ends.


def test_stopping_deletes_the_jobs_and_waits_for_the_workers(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run()
    sweep.launcher.start(2)
    first, _ = sorted(cluster.waiting())
    cluster.run(first)
    sweep.turn()
    for _ in range(3):
        sweep.stop()
        sweep.turn(is_stopping=True)
    assert not cluster.jobs
    assert not cluster.secrets
    assert cluster.pods[first]["metadata"]["deletionGracePeriodSeconds"] == 120
    (job,) = sweep.launcher.alive()
    assert job.state == JobState.RUNNING
    cluster.end(first, 75)
    sweep.turn(is_stopping=True)
    assert sweep.launcher.alive() == []
    assert sweep.rows() == []
    assert [call for call in cluster.calls if call[0] == "delete"] == [("delete", "jobs")]


def test_stopping_at_once_leaves_the_workers_no_time(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(1)
    sweep.turn()
    sweep.stop()
    sweep.stop(at_once=True)
    (pod,) = cluster.pods.values()
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 1


def test_workers_that_wait_are_cancelled_beside_those_that_run(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run(workers=3)
    sweep.launcher.start(3)
    first, *_ = sorted(cluster.waiting())
    cluster.run(first)
    sweep.turn()
    sweep.launcher.stop([job for job in sweep.launcher.alive() if job.state == JobState.WAITING])
    assert list(cluster.pods) == [first]
    assert "deletionTimestamp" not in cluster.pods[first]["metadata"]
    sweep.turn()
    assert [job.state for job in sweep.launcher.alive()] == [JobState.RUNNING]
    # When it ends, Kubernetes starts those that are left, which find nothing to do.
    cluster.end(first, 0)
    cluster.replace()
    cluster.run()
    cluster.end(cluster.running()[0], 0)
    cluster.replace()
    cluster.run()
    cluster.end(cluster.running()[0], 0)
    sweep.turn()
    assert sweep.launcher.alive() == []


def test_a_process_that_comes_to_look_says_when_it_cannot(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run()
    sweep.launcher.start(2)
    other = sweep.attached(None)
    cluster.is_down = True
    with pytest.raises(UserError, match="cannot be reached"):
        other.watch(News(is_stopping=True))
    cluster.is_down = False
    cluster.forbidden = {("list", "jobs")}
    with pytest.raises(UserError, match="cannot list it"):
        other.watch(News(is_stopping=True))
    other.close()


def test_the_logs_of_a_sweep_that_is_done_stay(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(1)
    cluster.end(cluster.running()[0], 0)
    sweep.turn()
    sweep.stop(at_once=True)  # as the supervisor does at the end of each sweep
    assert len(cluster.jobs) == len(cluster.pods) == 1


def test_jobs_outlive_the_terminal_and_another_process_follows_and_stops_them(
    at_work: Callable[[int], Run], cluster: FakeCluster
) -> None:
    sweep = at_work(2)
    first, second = cluster.running()
    cluster.end(first, 1, log="an old death")
    cluster.replace()
    sweep.turn()
    sweep.launcher.close()
    said = len(sweep.said)
    assert cluster.jobs

    (address,) = {tuple(row.address.items()) for row in sweep.rows()}
    assert dict(address) == {"namespace": NAMESPACE, "context": None}
    other: Launcher = sweep.attached(None)
    other.watch(News())
    assert len(other.alive()) == 2
    assert len(sweep.said) == said  # what had ended before is no news
    other.stop(other.alive())
    assert not cluster.jobs
    cluster.end(second, 75)
    other.watch(News(is_stopping=True))
    assert other.alive() == []
    other.close()


# Faults of the cluster.


def test_workers_in_another_namespace_are_left_alone(run: Callable[..., Run]) -> None:
    sweep = run(workers=1)
    elsewhere = {"namespace": "elsewhere", "context": None}
    jobs = Jobs(sweep.session, sweep.told.study_id, "kubernetes", elsewhere)
    jobs.add({"lrsearch-digits-0": None})
    sweep.begin("lrsearch-digits-0-x", "pod")
    sweep.turn()
    assert [row.owner for row in sweep.running()] == ["pod/7/1.00"]
    assert [row.job_id for row in jobs.rows()] == ["lrsearch-digits-0"]


def test_a_server_that_is_away_is_waited_for(run: Callable[..., Run], cluster: FakeCluster) -> None:
    sweep = run()
    cluster.is_down = True
    sweep.launcher.start(2)
    sweep.turn()
    assert not cluster.jobs
    cluster.is_down = False
    sweep.launcher.start(2)
    sweep.turn()
    assert len(sweep.launcher.alive()) == 2
    cluster.is_down = True
    sweep.turn()
    sweep.stop()
    assert len(sweep.launcher.alive()) == 2  # as far as is known
    assert sum("does not answer" in line for line in sweep.said) == 1
    cluster.is_down = False
    sweep.stop()
    assert not cluster.jobs


def test_a_job_whose_creation_was_not_confirmed_is_deleted_and_another_one_made(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run()
    cluster.loses_answers = True
    sweep.launcher.start(2)
    cluster.loses_answers = False
    (lost,) = cluster.jobs  # without its Secret its pods would wait for ever
    sweep.turn()
    sweep.launcher.start(2)
    assert lost not in cluster.jobs
    assert len(cluster.jobs) == len(cluster.secrets) == 1


def test_a_right_that_is_taken_away_ends_the_sweep_with_words(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run()
    cluster.forbidden = {("list", "pods")}
    with pytest.raises(WorkersFailed, match="cannot list it"):
        sweep.turn()


def test_the_launcher_needs_no_more_rights_than_its_role_gives(
    run: Callable[..., Run], cluster: FakeCluster
) -> None:
    sweep = run(workers=3)
    sweep.launcher.start(3)
    for pod in sorted(cluster.waiting())[:2]:
        cluster.run(pod)
    cluster.end(cluster.running()[0], 3, log="words")
    sweep.turn()
    sweep.launcher.stop([job for job in sweep.launcher.alive() if job.state == JobState.WAITING])
    sweep.turn()
    sweep.stop(at_once=True)
    rules = find(build("launcher"), "Role")["rules"]
    granted = {
        (verb, resource)
        for rule in rules
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }
    assert set(cluster.calls) == granted


def test_each_option_of_the_configuration_is_an_argument() -> None:
    node = yaml.safe_load((MANIFESTS.parents[1] / "conf/launcher/kubernetes.yaml").read_text())
    launcher = build_launcher(ComponentConfig(node.pop("name"), node))
    assert launcher.name == "kubernetes"
    assert launcher.outlives
