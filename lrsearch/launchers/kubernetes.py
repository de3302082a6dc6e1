"""Workers as Jobs on Kubernetes, which replaces their pods until nothing is left.

The manifest's policy for failed pods decides by a worker's exit code, so that a sweep goes on
without the process that started it. This launcher creates Jobs of as many workers as work is open,
follows their pods and deletes them. What runs is known from the cluster alone: Jobs and pods carry
the study in a label. The database's table of jobs adds which worker runs in which pod.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from lrsearch.config.storage import command_on
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.launchers.base import Job, JobState, News, Sweep, WorkersFailed
from lrsearch.launchers.command_line import worker_arguments
from lrsearch.launchers.early_deaths import EarlyDeaths
from lrsearch.launchers.kubernetes_api import Cluster, NoAnswer, Pod, PodJob, Refused
from lrsearch.launchers.kubernetes_job import (
    INDEX,
    JOB_NAME,
    STUDY_LABEL,
    PodOptions,
    Work,
    password_secret,
    render,
    slug,
)
from lrsearch.launchers.pickled import VARIABLE as FUNCTION
from lrsearch.launchers.remote import unreachable, without_password
from lrsearch.queue.jobs import Jobs
from lrsearch.settings import RuntimeSettings, Settings
from lrsearch.storage.tables import IdentityRow, JobRow
from lrsearch.text.formatting import plural
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import name_word
from lrsearch.workers.abilities import needs_gpu
from lrsearch.workers.exit_codes import ExitCode

_POLL_SECONDS = 5.0
"""Shortest time between two looks at the cluster."""
_LOG_LINES = 30
"""Lines of a dead worker's log that are shown."""
_MESSAGE = 300
"""Characters of Kubernetes' words that are shown."""
_WITHOUT_WORKER = ("Pending", "Succeeded", "Failed")
"""Phases of pods in which no worker runs."""
_STUCK = frozenset({
    "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ErrImagePull",
    "ImagePullBackOff", "InvalidImageName", "Unschedulable",
})  # fmt: skip
"""Reasons for which a pod can wait without end, which people should know."""


class Kubernetes:
    """Workers as Jobs. Its arguments are the options of `conf/launcher/kubernetes.yaml`."""

    name: ClassVar[str] = "kubernetes"
    outlives: ClassVar[bool] = True

    def __init__(
        self,
        image: str | None = None,
        namespace: str | None = None,
        context: str | None = None,
        storage: str | None = None,
        secret: str | None = None,
        gpus_per_worker: int | None = None,
        gpu_resource: str = "nvidia.com/gpu",
        cpus: int | float | str | None = None,
        mem: str | None = None,
        node_selector: Mapping[str, str] | None = None,
        tolerations: Sequence[Mapping[str, Any]] = (),
        service_account: str | None = None,
        env_from: Sequence[str] = (),
        data_claim: str | None = None,
        checkpoints_claim: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self._namespace, self._context = namespace, context
        self._storage, self._secret = storage, secret
        self._gpus = gpus_per_worker
        self._options = PodOptions(
            image=image or "",
            gpus=gpus_per_worker or 0,
            gpu_resource=gpu_resource,
            cpus=None if cpus is None else str(cpus),
            mem=mem,
            node_selector=node_selector or {},
            tolerations=tolerations,
            service_account=service_account,
            env_from=env_from,
            data_claim=data_claim,
            checkpoints_claim=checkpoints_claim,
            extra=extra or {},
        )
        self._workers = 0
        self._cluster: Cluster
        self._sweep: Sweep
        self._jobs: Jobs
        self._label = ""
        self._found: list[PodJob] = []
        """Jobs of the study, as of the last look; likewise the pods."""
        self._pods: list[Pod] = []
        self._alive: dict[str, Job] = {}
        self._looked_at = -math.inf
        self._seen: set[str] | None = None
        """Names of ended pods that have been seen to; None before the first look."""
        self._is_unsure: set[str] = set()
        """Names of Jobs that may have been created, and have no Secret."""
        self._refused: dict[str, str] = {}
        """Ids of workers that have refused all work, and their logs: none replaces them."""
        self._is_deleted: set[str] = set()
        self._deaths = EarlyDeaths()

    def check(self, settings: Settings, runtime: RuntimeSettings) -> None:
        """Check the options, and have the API server check a Job, of which it keeps nothing.

        Raises UserError.
        """
        problems = list(self._problems(runtime))
        if problems:
            raise ConfigErrors(problems)
        self._workers = int(runtime.workers)
        if self._gpus is None and needs_gpu(settings):
            self._gpus = math.ceil(settings.train.gpus)
            self._options = dataclasses.replace(self._options, gpus=self._gpus)
        self._cluster = Cluster(self._context, self._namespace)
        url, password = self._address(runtime.storage_url)
        environment = {"LRSEARCH_STORAGE": url}
        work = self._work("lrsearch-check", "check", "check", 1, ["worker"], environment, password)
        try:
            self._cluster.check_job(render(work, self._options))
            if work.secret is not None and self._secret is None:
                secret = password_secret(work.secret, "", work.name, "0")
                self._cluster.check_secret(secret)
        except NoAnswer as error:
            raise UserError(
                f"launcher=kubernetes: the API server {self._cluster.server} does not answer "
                f"({redacted(str(error))}): look whether `kubectl get jobs` works here, or choose "
                f"another cluster by launcher.context"
            ) from error
        except Refused as error:
            raise UserError(f"launcher=kubernetes: {redacted(str(error))}") from error

    def attach(self, sweep: Sweep) -> None:
        """Set the sweep; its Jobs that another process has started are found by their label.

        Raises UserError for a function that only this machine has.
        """
        if FUNCTION in sweep.environment:
            raise UserError(
                "objective: pods cannot read a function of a notebook or a script: put it into a "
                "module that launcher.image has"
            )
        self._sweep = sweep
        if not hasattr(self, "_cluster"):
            self._cluster = Cluster(self._context, self._namespace)
        address = {"namespace": self._cluster.namespace, "context": self._context}
        self._jobs = sweep.jobs(self.name, address)
        with sweep.session_of() as session:
            identity = session.scalars(select(IdentityRow.identity)).one()
        self._label = f"{identity}-{sweep.study_id}"

    def describe(self) -> str:
        """Return what it starts."""
        gpus = f", each with {plural(self._gpus, 'GPU')}" if self._gpus else ""
        return (
            f"up to {plural(self._workers, 'worker')} on Kubernetes in the namespace "
            f"{self._cluster.namespace}, of the image {self._options.image}{gpus}"
        )

    def most(self) -> int:
        """Return the largest number of workers at a time.

        A worker that refused all work is not replaced, since its successor may meet the same node.
        """
        return self._workers - len(self._refused)

    def start(self, count: int) -> None:
        """Create a Job of `count` workers. Raises WorkersFailed if the API server refuses it."""
        sweep = self._sweep
        url, password = self._address(sweep.locations.url)
        environment = {"LRSEARCH_STORAGE": url, **sweep.environment}
        checkpoints = sweep.locations.checkpoints
        if checkpoints is not None and "://" in checkpoints:
            environment["LRSEARCH_CHECKPOINTS"] = checkpoints
        elif self._options.data_claim is None and self._options.checkpoints_claim is None:
            self._sweep.say_once(
                "checkpoints are each pod's own: a trial that moves to another pod starts again; "
                "storage.checkpoints=s3://... or launcher.checkpoints_claim keeps them",
                "checkpoints",
            )
        name = f"lrsearch-{slug(sweep.name)}-{secrets.token_hex(3)}"
        arguments = worker_arguments(sweep)
        work = self._work(name, sweep.name, self._label, count, arguments, environment, password)
        self._looked_at = -math.inf
        self._is_unsure.add(name)
        try:
            job = self._cluster.create_job(render(work, self._options))
            if password is not None and self._secret is None:
                secret = password_secret(str(work.secret), password, job.name, job.uid)
                self._cluster.create_secret(secret)
        except (NoAnswer, Refused) as error:
            self._tell(error)
            return
        self._is_unsure.remove(name)
        ids = [f"{name}-{index}" for index in range(count)]
        logs = {job_id: self._log_command(name, k) for k, job_id in enumerate(ids)}
        self._jobs.add(logs)
        for job_id in ids:
            self._alive[job_id] = Job(job_id, JobState.WAITING, log=logs[job_id])

    def watch(self, news: News) -> None:
        """Look at the pods every few seconds, and see to those that have ended.

        Raises WorkersFailed.
        """
        if news.ended_well:
            self._deaths.ended_well()
        if time.monotonic() - self._looked_at < _POLL_SECONDS:
            return
        # The rows first: a worker in them whose pod has ended by the next line is dead.
        rows = {row.job_id: row for row in self._jobs.rows()}
        try:
            self._look()
            self._delete(job.name for job in self._found if job.name in self._is_unsure)
        except (NoAnswer, Refused) as error:
            self._tell(error)
            return
        if self._seen is None:  # pods of an earlier process are not this one's news
            self._seen = {pod.name for pod in self._pods if pod.has_ended}
        self._alive = {job.job_id: job for job in self._living(rows)}
        for pod in self._pods:
            if pod.has_ended and pod.name not in self._seen:
                self._ended(pod, rows.get(pod.job_id), news.is_stopping)
                self._seen.add(pod.name)
        over = [row for job_id, row in rows.items() if job_id not in self._alive]
        for row in over:
            self._reclaim(row, blame=False)
        self._jobs.remove(row.job_id for row in over)
        for pod in self._pods:
            self._say_why_it_waits(pod)
        if self._refused and self.most() <= 0:
            raise WorkersFailed(
                "no worker can do any of the work; the last has written:\n"
                + list(self._refused.values())[-1]
            )

    def alive(self) -> Sequence[Job]:
        """Return the workers that run, wait to run, or are about to be replaced."""
        return list(self._alive.values())

    def stop(self, jobs: Sequence[Job], at_once: bool = False) -> None:
        """Delete the Jobs of workers, which hand their work back. At once: kill their pods, too.

        Of a Job with other workers that go on, those that wait are deleted.
        """
        names = {job.job_id for job in jobs}
        try:
            for job in self._found:
                own = {f"{job.name}-{index}" for index in range(job.size)} & self._alive.keys()
                others = sum(
                    self._alive[job_id].state == JobState.RUNNING for job_id in own - names
                )
                if own & names and not job.is_over:
                    if others:
                        self._cluster.limit_job(job.name, others)
                    else:
                        self._delete([job.name])
            for pod in self._pods if at_once else ():
                is_chosen = pod.job_id in names and not pod.has_ended
                if is_chosen and pod.name not in self._is_deleted:
                    self._cluster.kill_pod(pod.name)
                    self._is_deleted.add(pod.name)
        except (NoAnswer, Refused) as error:
            self._tell(error)

    def close(self) -> None:
        """Close the connections. Jobs that are over stay for a day, and so do their logs."""
        self._cluster.close()

    def _problems(self, runtime: RuntimeSettings) -> Iterator[str]:
        """Yield what is wrong with the configuration."""
        if runtime.workers == "auto":
            yield "workers: on Kubernetes it must be given, the most pods at a time: workers=16"
        if not self._options.image:
            yield (
                "launcher.image is missing: the image of lrsearch in a registry that the nodes "
                "reach, such as launcher.image=registry.example.org/lrsearch:0.2.0"
            )
        if self._storage is None and (why := unreachable(runtime.storage_url)):
            yield (
                f"storage.url: {why}. Pods must reach the database; where they know it by another "
                f"address than this machine, give that as launcher.storage"
            )
        if self._storage is not None and not _is_server(self._storage):
            yield (
                "launcher.storage is not the URL of a server, such as "
                "postgresql://me@lrsearch-db-rw/lrsearch"
            )
        elif self._storage is not None and make_url(self._storage).password:
            yield (
                "launcher.storage holds a password: leave it out; pods get the one of storage.url, "
                "or the one in the Secret launcher.secret"
            )

    def _address(self, own_url: str) -> tuple[str, str | None]:
        """Return the URL of the database for pods, without its password, and the password."""
        url, password = without_password(own_url)
        if self._storage is None:
            return url, password
        return without_password(self._storage)[0], password

    def _work(
        self,
        name: str,
        study: str,
        label: str,
        count: int,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        password: str | None,
    ) -> Work:
        secret = self._secret or (name if password is not None else None)
        return Work(name, study, label, count, arguments, environment, secret)

    def _delete(self, names: Iterable[str]) -> None:
        """Delete Jobs. Raises NoAnswer."""
        for name in set(names) - self._is_deleted:
            self._cluster.delete_job(name)
            self._is_deleted.add(name)

    def _look(self) -> None:
        """Read the Jobs and pods of the study. Raises NoAnswer and Refused."""
        selector = f"{STUDY_LABEL}={self._label}"
        # The Jobs first: then a pod whose Job is not among them belongs to a later one.
        self._found, self._pods = self._cluster.jobs(selector), self._cluster.pods(selector)
        self._looked_at = time.monotonic()

    def _living(self, rows: Mapping[str, JobRow]) -> Iterator[Job]:
        """Yield the workers that run, wait to run, or are about to be replaced."""
        now = datetime.now(UTC)
        current = {pod.job_id: pod for pod in self._pods if not pod.has_ended}
        lost = {job_id for job_id, pod in current.items() if pod.is_lost(now)}
        places = {pod.job_id: (pod.job, pod.index) for pod in current.values()}
        for job in self._found:
            pods = sum(pod.job == job.name for pod in current.values())
            missing = [
                index
                for index in range(job.size)
                if index not in job.ended and f"{job.name}-{index}" not in current
            ]
            soon = [] if job.is_over else missing[: max(0, job.parallelism - pods)]
            places |= {f"{job.name}-{index}": (job.name, index) for index in soon}
        for job_id, place in places.items():
            if job_id in lost:
                continue
            pod, row = current.get(job_id), rows.get(job_id)
            runs = pod is not None and pod.phase == "Running"
            owner = row.owner.rsplit("/", 1)[0] if runs and row and row.owner else None
            yield Job(
                job_id,
                JobState.RUNNING if runs else JobState.WAITING,
                host=pod.node if pod is not None else None,
                log=self._log_command(*place),
                owner=owner,
                is_starting=runs and owner is None,
            )

    def _ended(self, pod: Pod, row: JobRow | None, is_stopping: bool) -> None:
        """See to a pod that has ended. Raises WorkersFailed if workers cannot work."""
        if pod.exit_code == ExitCode.DONE:
            return
        out_of_memory = pod.reason == "OOMKilled"
        by_itself = not (pod.is_disrupted or pod.exit_code in (ExitCode.HANDED_BACK, None))
        died = by_itself and pod.exit_code not in (ExitCode.REFUSED, ExitCode.STALLED)
        # Unless its index has another pod that runs, the worker in the table is the one that ended.
        current = {other.job_id for other in self._pods if other.phase not in _WITHOUT_WORKER}
        work: set[tuple[str, int]] = set()
        if row is not None and pod.job_id not in current:
            cause = f"out of memory: its pod {pod.name} was killed" if out_of_memory else None
            work = self._reclaim(row, by_itself and not is_stopping, cause, out_of_memory)
        if is_stopping or pod.job in self._is_deleted:
            return
        how = self._how(pod)
        if pod.exit_code == ExitCode.REFUSED:
            self._refused[pod.job_id] = self._log(pod)
            self._sweep.say(
                f"{how}: it can do none of the work there. Its log: {self._log_of(pod)}"
            )
            return
        if died and not (out_of_memory and work):
            gives_up = self._deaths.add(work, pod.name)
            if gives_up or pod.exit_code == ExitCode.BAD_INPUT:
                raise WorkersFailed(
                    f"{how}, and cannot work:\n{self._log(pod)}\n"
                    f"(the whole log: {self._log_of(pod)})"
                )
        self._sweep.say(f"{how}; Kubernetes replaces it. Its log: {self._log_of(pod)}")

    def _how(self, pod: Pod) -> str:
        """Return how a pod has ended, in words."""
        words = [f"exit code {pod.exit_code}"] if pod.exit_code is not None else []
        words += [pod.reason] if pod.reason not in (None, "Error", "Completed") else []
        words += ["disrupted"] if pod.is_disrupted else []
        return f"the worker in pod {pod.name} on {pod.node} has ended ({', '.join(words)})"

    def _reclaim(
        self, row: JobRow, blame: bool, cause: str | None = None, out_of_memory: bool = False
    ) -> set[tuple[str, int]]:
        """Reclaim what the worker of a job was working on, and return it."""
        if row.owner is None:
            return set()
        return self._sweep.reclaim_dead(
            lambda owner: owner == row.owner, blame, cause, out_of_memory
        )

    def _log(self, pod: Pod) -> str:
        return redacted(self._cluster.log(pod.name, _LOG_LINES))

    def _log_of(self, pod: Pod) -> str:
        return self._kubectl("logs", pod.name)

    def _log_command(self, job: str, index: int) -> str:
        """Return the command that prints the logs of a worker and of those before it."""
        return self._kubectl("logs", "--tail=-1", f"--selector={JOB_NAME}={job},{INDEX}={index}")

    def _kubectl(self, *words: str) -> str:
        context = [] if self._context is None else [f"--context={self._context}"]
        return shlex.join(["kubectl", f"--namespace={self._cluster.namespace}", *context, *words])

    def _say_why_it_waits(self, pod: Pod) -> None:
        """Say once for each reason why a pod waits, if it may be for ever."""
        if pod.phase == "Pending" and pod.reason in _STUCK:
            name = name_word(self._sweep.name)
            self._sweep.say_once(
                f"pod {pod.name} waits ({pod.reason}): {redacted(pod.message or '')[:_MESSAGE]} "
                f"(`{command_on(self._sweep.locations.url, 'status', name)}` shows all)",
                pod.reason,
            )

    def _tell(self, error: NoAnswer | Refused) -> None:
        """Say that the API server does not answer, where it can be waited for.

        Raises WorkersFailed where it refuses what the sweep needs, and UserError in a process that
        has come to look at the jobs of another.
        """
        reason = redacted(str(error))[:_MESSAGE]
        if not self._workers:
            raise UserError(f"the jobs on Kubernetes cannot be reached: {reason}") from error
        if isinstance(error, Refused):
            raise WorkersFailed(reason) from error
        self._sweep.say_once(
            f"the API server of Kubernetes does not answer ({reason}); the workers go on, "
            f"waiting for it",
            "no answer",
        )


def _is_server(url: str) -> bool:
    try:
        return make_url(url).get_backend_name() != "sqlite"
    except ArgumentError:
        return False
