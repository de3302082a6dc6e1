"""The few calls of the Kubernetes API that the launcher makes, by the official client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lrsearch.errors import LrsearchError, UserError
from lrsearch.launchers.kubernetes_job import CONTAINER, INDEX, JOB_NAME, Manifest, indexes

_TIMEOUT = (5.0, 30.0)
"""Seconds for a connection to the API server, and for its answer."""
_LOST = timedelta(seconds=60)
"""After a pod should have ended it is taken for lost with its node: others take its work over."""
_PASSING = frozenset({401, 408, 429})  # 401: a token that is renewed
"""Statuses below 500 after which the same call can succeed later."""
_ENDED = ("Complete", "Failed")
_CHECK = {"dry_run": "All", "field_validation": "Strict"}


class NoAnswer(LrsearchError):
    """The API server does not answer, or cannot at present; the same call may succeed later."""


class Refused(LrsearchError):
    """The API server refuses a call, and says why."""


@dataclass(frozen=True)
class Pod:
    """One pod of a worker, as the API server describes it."""

    name: str
    job: str
    index: int
    phase: str
    node: str | None
    exit_code: int | None
    """Of its worker, once it has ended."""
    reason: str | None
    """Why it ended or waits, in Kubernetes' word: `OOMKilled`, `Evicted`, `ImagePullBackOff`."""
    message: str | None
    is_disrupted: bool
    """Whether it was evicted, preempted, or lost its node."""
    ends_by: datetime | None
    """When a pod that is being deleted has to be gone."""

    @property
    def job_id(self) -> str:
        """The worker's name in the table of jobs, the same for its replacements."""
        return f"{self.job}-{self.index}"

    @property
    def has_ended(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    def is_lost(self, now: datetime) -> bool:
        """Whether it should have ended long ago: its node does not answer."""
        return not self.has_ended and self.ends_by is not None and now > self.ends_by + _LOST


def read_pod(pod: Manifest) -> Pod:
    """Read what matters of a pod."""
    metadata, status = pod["metadata"], pod.get("status", {})
    exit_code = reason = message = None
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        if container["name"] != CONTAINER:
            continue
        about = state.get("terminated") or state.get("waiting") or {}
        exit_code = (state.get("terminated") or {}).get("exitCode")
        reason, message = about.get("reason"), about.get("message")
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        reason, message = scheduled.get("reason"), scheduled.get("message")
    index = metadata["labels"].get(INDEX) or metadata["annotations"][INDEX]
    deletion = metadata.get("deletionTimestamp")
    return Pod(
        name=metadata["name"],
        job=metadata["labels"][JOB_NAME],
        index=int(index),
        phase=status.get("phase") or "Pending",
        node=pod["spec"].get("nodeName"),
        exit_code=exit_code,
        reason=status.get("reason") or reason,  # `Evicted` says more than an exit code
        message=status.get("message") or message,
        is_disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        ends_by=None if deletion is None else datetime.fromisoformat(deletion),
    )


@dataclass(frozen=True)
class PodJob:
    """A Job as the API server describes it."""

    name: str
    uid: str
    size: int
    """Number of its workers."""
    parallelism: int
    """Most of them at a time."""
    ended: frozenset[int]
    """Indexes that Kubernetes does not start again."""
    is_over: bool
    """Whether it starts no more pods: it is complete, failed or being deleted."""


def read_job(job: Manifest) -> PodJob:
    """Read what matters of a Job."""
    metadata, status = job["metadata"], job.get("status") or {}
    conditions = {one["type"] for one in status.get("conditions") or [] if one["status"] == "True"}
    ended = indexes(status.get("completedIndexes")) | indexes(status.get("failedIndexes"))
    return PodJob(
        name=metadata["name"],
        uid=metadata["uid"],
        size=job["spec"]["completions"],
        parallelism=job["spec"]["parallelism"],
        ended=frozenset(ended),
        is_over=bool(conditions.intersection(_ENDED)) or "deletionTimestamp" in metadata,
    )


class Cluster:
    """One namespace of a cluster. Its methods raise NoAnswer and Refused."""

    def __init__(self, context: str | None, namespace: str | None) -> None:
        """Read the configuration of kubectl, or in a pod that of its service account.

        Raises UserError where there is neither.
        """
        try:
            from kubernetes import client, config
        except ImportError:
            raise UserError(
                "launcher=kubernetes needs the package kubernetes: "
                "pip install 'lrsearch[kubernetes]'"
            ) from None
        settings = client.Configuration()
        self.namespace = namespace or "default"
        try:
            config.load_kube_config(context=context, client_configuration=settings)
            if namespace is None:
                self.namespace = _namespace_of(context) or "default"
        except config.ConfigException as error:
            try:
                if context is not None:
                    raise
                config.load_incluster_config(client_configuration=settings)
            except config.ConfigException:
                raise UserError(
                    f"launcher=kubernetes finds no cluster ({error}): set up kubectl, name its "
                    f"file in KUBECONFIG, or choose one of its contexts by launcher.context"
                ) from None
            if namespace is None:
                self.namespace = _own_namespace() or "default"
        settings.retries = 0  # the launcher asks again itself
        self.server = str(settings.host)
        """URL of the API server."""
        self._api = client.ApiClient(settings)
        self._batch, self._core = client.BatchV1Api(self._api), client.CoreV1Api(self._api)
        self._errors = client.ApiException

    def close(self) -> None:
        """Close its connections."""
        self._api.close()

    def create_job(self, job: Manifest) -> PodJob:
        """Create a Job."""
        create = self._batch.create_namespaced_job
        return read_job(self._json("create a Job", create, self.namespace, job))

    def check_job(self, job: Manifest) -> None:
        """Have the server check a Job, of which it keeps nothing."""
        create = self._batch.create_namespaced_job
        self._call("create a Job", create, self.namespace, job, **_CHECK)

    def create_secret(self, secret: Manifest) -> None:
        """Create a Secret."""
        self._call("create a Secret", self._core.create_namespaced_secret, self.namespace, secret)

    def check_secret(self, secret: Manifest) -> None:
        """Have the server check a Secret, of which it keeps nothing."""
        create = self._core.create_namespaced_secret
        self._call("create a Secret", create, self.namespace, secret, **_CHECK)

    def jobs(self, selector: str) -> list[PodJob]:
        """Return the Jobs with a label."""
        jobs = self._batch.list_namespaced_job
        listed = self._json("list Jobs", jobs, self.namespace, label_selector=selector)
        return [read_job(job) for job in listed["items"]]

    def pods(self, selector: str) -> list[Pod]:
        """Return the pods with a label."""
        pods = self._core.list_namespaced_pod
        listed = self._json("list pods", pods, self.namespace, label_selector=selector)
        return [read_pod(pod) for pod in listed["items"]]

    def limit_job(self, name: str, parallelism: int) -> None:
        """Let a Job have fewer pods at a time: those that wait are deleted before those that run.

        Source: `activePodsForRemoval` in the Job controller of Kubernetes.
        """
        patch = self._batch.patch_namespaced_job
        body = {"spec": {"parallelism": parallelism}}
        with contextlib.suppress(_Missing):
            self._call("change a Job", patch, name, self.namespace, body)

    def delete_job(self, name: str) -> None:
        """Delete a Job; its pods get SIGTERM, and the time of their manifest to end."""
        delete = self._batch.delete_namespaced_job
        with contextlib.suppress(_Missing):
            self._call("delete a Job", delete, name, self.namespace,
                       propagation_policy="Background")  # fmt: skip

    def kill_pod(self, name: str) -> None:
        """Delete a pod, and let its processes end at once."""
        delete = self._core.delete_namespaced_pod
        with contextlib.suppress(_Missing):
            self._call("delete a pod", delete, name, self.namespace, grace_period_seconds=1)

    def log(self, pod: str, lines: int) -> str:
        """Return the end of a pod's log, or why there is none."""
        read = self._core.read_namespaced_pod_log
        try:
            text = self._call("read a log", read, pod, self.namespace, tail_lines=lines)
        except (NoAnswer, Refused, _Missing) as error:
            return f"(no log: {error})"
        return text.decode(errors="replace").strip() or "(its log is empty)"

    def _json(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return json.loads(self._call(what, call, *arguments, **options))

    def _call(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
        """Call the API; return the body of the answer.

        The client's own classes are of one version of Kubernetes: some versions of it refuse
        answers with fields of a newer one.
        """
        from urllib3.exceptions import HTTPError

        try:
            answer = call(*arguments, **options, _preload_content=False, _request_timeout=_TIMEOUT)
            return bytes(answer.data)
        except self._errors as error:
            reason = f"{error.status} {error.reason}: {_message(error.body)}"
            if error.status == 404 and len(arguments) > 1 and arguments[1] == self.namespace:
                raise _Missing(reason) from None
            if not error.status or error.status >= 500 or error.status in _PASSING:
                raise NoAnswer(reason) from None
            raise Refused(
                f"Kubernetes does not let us {what} in the namespace {self.namespace} ({reason})"
            ) from None
        except (HTTPError, OSError) as error:
            # Of an attempt that was the last one, the reason alone: the rest is the client's own.
            raise NoAnswer(str(getattr(error, "reason", None) or error)) from None
        except ValueError as error:  # what the client itself finds
            raise Refused(f"the client of Kubernetes cannot {what}: {error}") from None


class _Missing(LrsearchError):
    """What was named is not there."""


def _namespace_of(context: str | None) -> str | None:
    """Return the namespace of a context of kubectl's configuration, or of its current one."""
    from kubernetes import config

    contexts, current = config.list_kube_config_contexts()
    chosen = next((one for one in contexts if one["name"] == context), current)
    namespace = chosen["context"].get("namespace")
    return None if namespace is None else str(namespace)


def _own_namespace() -> str | None:
    """Return the namespace of this pod."""
    path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    return path.read_text().strip() if path.exists() else None


def _message(body: Any) -> str:
    """Return the message in the body of an error, which is JSON where the API server sends it."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200]
