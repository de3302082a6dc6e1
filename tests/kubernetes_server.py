"""A small stand-in for the API server of Kubernetes and its controllers, over real HTTP.

It knows the calls that the launcher makes and the part of the Job controller that matters: indexes,
the policy for failed pods, replacements. What kubelets do is played by the test: pods start, end
with an exit code, are evicted, or lose their node. It is no cluster, and proves nothing about one.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

Manifest = dict[str, Any]
NAMESPACE = "research"
_INDEX = "batch.kubernetes.io/job-completion-index"
_JOB = "batch.kubernetes.io/job-name"
_FINAL = ("Complete", "Failed")


class FakeCluster:
    """The state of one namespace, and what happens in it. Use it by `fake_cluster`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.jobs: dict[str, Manifest] = {}
        self.pods: dict[str, Manifest] = {}
        self.secrets: dict[str, Manifest] = {}
        self.logs: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        """Verb and resource of each call, as rules of RBAC name them."""
        self.forbidden: set[tuple[str, str]] = set()
        self.is_down = False
        self.loses_answers = False
        """Whether calls are carried out and then answered by an error."""
        self.address = ""

    def kubeconfig(self, folder: Path) -> Path:
        """Write a configuration of kubectl with one context, `fake`."""
        path = folder / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "fake",
                    "clusters": [{"name": "fake", "cluster": {"server": self.address}}],
                    "users": [{"name": "fake", "user": {}}],
                    "contexts": [
                        {
                            "name": "fake",
                            "context": {
                                "cluster": "fake",
                                "user": "fake",
                                "namespace": NAMESPACE,
                            },
                        }
                    ],
                }
            )
        )
        return path

    # What happens to pods.

    def run(self, pod: str | None = None, node: str = "node-1") -> None:
        """Start one pod, or all that wait."""
        with self.lock:
            for name in [pod] if pod is not None else self.waiting():
                self.pods[name]["spec"]["nodeName"] = node
                self.pods[name]["status"] = {
                    "phase": "Running",
                    "containerStatuses": [
                        _container({"running": {"startedAt": _time()}}),
                    ],
                }

    def end(
        self, pod: str, code: int, reason: str | None = None, log: str = "", disrupted: bool = False
    ) -> None:
        """End the worker of a pod with an exit code."""
        with self.lock:
            if pod not in self.pods:
                return
            reason = reason or ("Completed" if code == 0 else "Error")
            ended = {"exitCode": code, "reason": reason, "finishedAt": _time()}
            status = self.pods[pod]["status"]
            status["phase"] = "Succeeded" if code == 0 else "Failed"
            status["containerStatuses"] = [_container({"terminated": ended})]
            if disrupted:
                status["conditions"] = [_condition("DisruptionTarget")]
            self.logs[pod] = log
            self._count(self.pods[pod], code, disrupted)
            if "deletionTimestamp" in self.pods[pod]["metadata"]:
                del self.pods[pod]

    def evict(self, pod: str, code: int = 75) -> None:
        """Evict a pod through the API, as draining a node does: it ends, and is gone."""
        with self.lock:
            self.pods[pod]["metadata"]["deletionTimestamp"] = _time()
            self.end(pod, code, disrupted=True)

    def lose_node(self, node: str, ago: timedelta) -> None:
        """Let a node fall silent: its pods are to be deleted, and nobody says that they ended."""
        with self.lock:
            for pod in self.pods.values():
                if pod["spec"].get("nodeName") == node and pod["status"]["phase"] == "Running":
                    pod["metadata"]["deletionTimestamp"] = _time(datetime.now(UTC) - ago)
                    pod["status"]["conditions"] = [_condition("DisruptionTarget")]

    def block(self, pod: str, reason: str, message: str) -> None:
        """Let a pod wait for an image or a volume."""
        with self.lock:
            waiting = {"waiting": {"reason": reason, "message": message}}
            self.pods[pod]["status"]["containerStatuses"] = [_container(waiting)]

    def replace(self) -> None:
        """Create the pods that are missing, as the Job controller does after its back-off."""
        with self.lock:
            for job in self.jobs.values():
                for index in range(job["spec"]["completions"]):
                    room = job["spec"]["parallelism"] - len(self._active(job))
                    if room > 0 and not self._needs_none(job, index):
                        self._create_pod(job, index)

    def waiting(self) -> list[str]:
        """Names of the pods that wait to run."""
        with self.lock:
            return [n for n, pod in self.pods.items() if pod["status"]["phase"] == "Pending"]

    def running(self) -> list[str]:
        """Names of the pods that run, in the order of their indexes."""
        with self.lock:
            return sorted(n for n, pod in self.pods.items() if pod["status"]["phase"] == "Running")

    def _needs_none(self, job: Manifest, index: int) -> bool:
        status = job["status"]
        if _is_over(job) or index in status["completed"] | status["failed_indexes"]:
            return True
        # podReplacementPolicy: Failed
        return any(pod["metadata"]["labels"][_INDEX] == str(index) for pod in self._active(job))

    def _create_pod(self, job: Manifest, index: int) -> None:
        template = job["spec"]["template"]
        job_name = job["metadata"]["name"]
        name = f"{job_name}-{index}-{uuid.uuid4().hex[:5]}"
        labels = {**template["metadata"]["labels"], _JOB: job_name, _INDEX: str(index)}
        self.pods[name] = {
            "metadata": {
                "name": name,
                "uid": uuid.uuid4().hex,
                "labels": labels,
                "annotations": {_INDEX: str(index)},
            },
            # A server can be newer than the client, and have fields that this does not know.
            "spec": {**json.loads(json.dumps(template["spec"])), "fieldOfTomorrow": {}},
            "status": {"phase": "Pending"},
        }

    def _count(self, pod: Manifest, code: int, disrupted: bool) -> None:
        """Apply the Job's rules to a pod that has ended."""
        job = self.jobs.get(pod["metadata"]["labels"][_JOB])
        if job is None:
            return
        index, status = int(pod["metadata"]["labels"][_INDEX]), job["status"]
        if code == 0:
            status["completed"].add(index)
        else:
            action = _action(job, code, disrupted)
            if action == "FailJob":
                self._finish(job, "Failed")
                return
            if action == "Count":
                failures = status["failures"]
                failures[index] = failures.get(index, 0) + 1
                if failures[index] > job["spec"]["backoffLimitPerIndex"]:
                    action = "FailIndex"
            if action == "FailIndex":
                status["failed_indexes"].add(index)
        ended = status["completed"] | status["failed_indexes"]
        if len(ended) == job["spec"]["completions"]:
            self._finish(job, "Failed" if status["failed_indexes"] else "Complete")

    def _finish(self, job: Manifest, condition: str) -> None:
        job["status"]["conditions"] = [_condition(condition)]
        for pod in self._active(job):
            self._delete_pod(pod)

    def _active(self, job: Manifest) -> list[Manifest]:
        """Its pods that have not ended."""
        ended = ("Succeeded", "Failed")
        return [pod for pod in self._pods_of(job) if pod["status"]["phase"] not in ended]

    def _pods_of(self, job: Manifest) -> list[Manifest]:
        name = job["metadata"]["name"]
        return [pod for pod in self.pods.values() if pod["metadata"]["labels"][_JOB] == name]

    def _delete_pod(self, pod: Manifest, grace: float | None = None) -> None:
        """Delete a pod: one that runs is asked to end (`end` completes it), any other is gone."""
        if pod["status"]["phase"] != "Running":
            del self.pods[pod["metadata"]["name"]]
            return
        if grace is None:
            grace = pod["spec"]["terminationGracePeriodSeconds"]
        at = _time(datetime.now(UTC) + timedelta(seconds=grace))
        pod["metadata"]["deletionTimestamp"] = at
        pod["metadata"]["deletionGracePeriodSeconds"] = grace

    # The calls.

    def answer(
        self, method: str, path: str, query: dict[str, str], body: Manifest | None
    ) -> tuple[int, Manifest | str]:
        """Carry a call out; return the status and what it answers."""
        parts = path.strip("/").split("/")
        at = parts.index("namespaces")
        namespace, resource, *rest = parts[at + 1 :]
        name = rest[0] if rest else None
        if rest[1:] == ["log"]:
            resource = "pods/log"
        verb = {
            "POST": "create", "PATCH": "patch", "DELETE": "delete",
            "GET": "get" if name else "list",
        }[method]  # fmt: skip
        with self.lock:
            self.calls.append((verb, resource))
            if self.is_down:
                return 503, _status("the server is currently unable to handle the request")
            if (verb, resource) in self.forbidden:
                return 403, _status(f'{resource} is forbidden: User "me" cannot {verb} it')
            if namespace != NAMESPACE:
                return 404, _status(f'namespaces "{namespace}" not found')
            answer = self._carry_out(verb, resource, name, query, body or {})
            if self.loses_answers:
                return 504, _status("the answer was lost")
            return answer

    def _carry_out(
        self, verb: str, resource: str, name: str | None, query: dict[str, str], body: Manifest
    ) -> tuple[int, Manifest | str]:
        match verb, resource:
            case "create", "jobs" | "secrets":
                return self._create(resource, query, body)
            case "list", "jobs":
                return 200, {"items": [_shown(job) for job in _selected(self.jobs, query)]}
            case "list", "pods":
                return 200, {"items": _selected(self.pods, query)}
            case "get", "pods/log":
                lines = self.logs.get(str(name), "").splitlines()[-int(query["tailLines"]) :]
                return 200, "\n".join(lines)
            case "patch", "jobs" if name in self.jobs:
                job = self.jobs[name]
                job["spec"] |= body["spec"]
                active = sorted(self._active(job), key=lambda pod: pod["status"]["phase"])
                for pod in active[: max(0, len(active) - job["spec"]["parallelism"])]:
                    self._delete_pod(pod)  # "Pending" comes before "Running"
                return 200, _shown(job)
            case "delete", "jobs" if name in self.jobs:
                assert query["propagationPolicy"] == "Background"
                job = self.jobs.pop(name)
                for pod in self._pods_of(job):
                    self._delete_pod(pod)
                self.secrets = {
                    key: secret
                    for key, secret in self.secrets.items()
                    if secret["metadata"]["ownerReferences"][0]["uid"] != job["metadata"]["uid"]
                }
                return 200, {"status": "Success"}
            case "delete", "pods" if name in self.pods:
                self._delete_pod(self.pods[name], float(query["gracePeriodSeconds"]))
                return 200, {"metadata": {"name": name}}
        return 404, _status(f'{resource} "{name}" not found')

    def _create(
        self, resource: str, query: dict[str, str], body: Manifest
    ) -> tuple[int, Manifest | str]:
        try:
            kubernetes_validate.validate(body, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            return 422, _status(f"{resource} is invalid: {error.message}")
        made = json.loads(json.dumps(body))
        made["metadata"]["uid"] = uuid.uuid4().hex
        if query.get("dryRun") == "All":
            return 201, made
        name = made["metadata"]["name"]
        if resource == "secrets":
            self.secrets[name] = made
            return 201, made
        job = {**made, "status": {"completed": set(), "failed_indexes": set(), "failures": {}}}
        self.jobs[name] = job
        self.replace()
        return 201, _shown(job)


def _action(job: Manifest, code: int, disrupted: bool) -> str:
    """The action of the first rule that a failed pod meets."""
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        if disrupted if "onPodConditions" in rule else code in rule["onExitCodes"]["values"]:
            return str(rule["action"])
    return "Count"


def _is_over(job: Manifest) -> bool:
    return any(one["type"] in _FINAL for one in job["status"].get("conditions", []))


def _shown(job: Manifest) -> Manifest:
    """A Job as the API shows it."""
    status = job["status"]
    shown = {
        "conditions": status.get("conditions", []),
        "completedIndexes": ",".join(map(str, sorted(status["completed"]))),
        "failedIndexes": ",".join(map(str, sorted(status["failed_indexes"]))),
    }
    return {**job, "status": shown}


def _selected(objects: dict[str, Manifest], query: dict[str, str]) -> list[Manifest]:
    key, _, value = query["labelSelector"].partition("=")
    return [one for one in objects.values() if one["metadata"]["labels"].get(key) == value]


def _container(state: Manifest) -> Manifest:
    return {
        "name": "worker",
        "state": state,
        "ready": "running" in state,
        "restartCount": 0,
        "image": "lrsearch",
        "imageID": "",
    }


def _condition(kind: str) -> Manifest:
    return {"type": kind, "status": "True"}


def _time(at: datetime | None = None) -> str:
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _status(message: str) -> Manifest:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}


@contextmanager
def fake_cluster() -> Iterator[FakeCluster]:
    """Serve a cluster on a free port of this machine for the length of the block."""
    cluster = FakeCluster()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet: no wait for an acknowledgement

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length) if length else b""
            body = json.loads(raw) if raw else None
            status, answer = cluster.answer(self.command, parts.path, query, body)
            is_text = isinstance(answer, str)
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    cluster.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
