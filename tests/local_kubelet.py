"""Pods of the stand-in for Kubernetes as processes of this machine, with their real exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes_server import FakeCluster

Manifest = dict[str, Any]
INTERVAL = 0.1


class LocalKubelet:
    """Runs the container of each pod; what is mounted lies in a folder for each pod."""

    def __init__(self, cluster: FakeCluster, folder: Path, environment: Mapping[str, str]) -> None:
        self.cluster, self.folder, self.environment = cluster, folder, environment
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.codes: list[int] = []
        """Exit codes of containers, in the order of their ends."""
        self._evicted: set[str] = set()
        self._asked: set[str] = set()

    def evict(self, pod: str) -> None:
        """Ask a pod to end, as draining its node does."""
        with self.cluster.lock:
            self._evicted.add(pod)
            self._asked.add(pod)
            self.cluster.pods[pod]["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
            self.processes[pod].terminate()

    def kill(self, pod: str) -> None:
        """Kill a container, as a lack of memory does."""
        with self.cluster.lock:
            self.processes[pod].kill()

    def sync(self) -> None:
        """Start the pods that wait, end those that are to end, and count those that have ended."""
        with self.cluster.lock:
            for name in self.cluster.waiting():
                if not self._can_mount(self.cluster.pods[name]):
                    continue
                self.cluster.run(name)
                self.processes[name] = self._start(self.cluster.pods[name])
            for name, process in list(self.processes.items()):
                code = process.poll()
                if code is not None:
                    del self.processes[name]
                    self.codes.append(code if code >= 0 else 128 - code)
                    log = (self.folder / name / "log").read_text()
                    disrupted = name in self._evicted
                    self.cluster.end(name, self.codes[-1], log=log, disrupted=disrupted)
                elif self._is_ending(name):
                    process.terminate()
            self.cluster.replace()

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    def _can_mount(self, pod: Manifest) -> bool:
        """Whether the Secrets of a pod are there: it waits for them."""
        volumes = pod["spec"]["volumes"]
        names = {one["secret"]["secretName"] for one in volumes if "secret" in one}
        return names <= self.cluster.secrets.keys()

    def _is_ending(self, name: str) -> bool:
        """Whether a pod is to end and has not been asked."""
        if "deletionTimestamp" not in self.cluster.pods[name]["metadata"] or name in self._asked:
            return False
        self._asked.add(name)
        return True

    def _start(self, pod: Manifest) -> subprocess.Popen[bytes]:
        root = self.folder / pod["metadata"]["name"]
        root.mkdir(parents=True)
        (container,) = pod["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in container["volumeMounts"]:
            place = root / mount["mountPath"].strip("/")
            place.mkdir(parents=True, exist_ok=True)
            if "secret" in volumes[mount["name"]]:
                secret = volumes[mount["name"]]["secret"]
                for item in secret["items"]:
                    data = self.cluster.secrets[secret["secretName"]]["stringData"]
                    (place / item["path"]).write_text(data[item["key"]])
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]

        def local(text: str) -> str:
            pattern = "|".join(sorted(map(re.escape, paths), key=len, reverse=True))
            return re.sub(rf"(^|=)({pattern})(?=/|$)", rf"\g<1>{root}\g<2>", text)

        environment = dict(self.environment)
        for variable in container["env"]:
            value = _value(variable, pod)
            value = re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], value)
            environment[variable["name"]] = local(value)
        arguments = [local(word) for word in container["args"]]
        with (root / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "lrsearch", *arguments],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _value(variable: Manifest, pod: Manifest) -> str:
    """The value of a variable: its own, or that of a field of the pod."""
    if "value" in variable:
        return str(variable["value"])
    path = variable["valueFrom"]["fieldRef"]["fieldPath"]
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path)
    assert match
    return str(pod["metadata"][match[1]][match[2]])


@contextmanager
def local_kubelet(
    cluster: FakeCluster, folder: Path, environment: Mapping[str, str]
) -> Iterator[LocalKubelet]:
    """Run the pods of a cluster for the length of the block."""
    kubelet = LocalKubelet(cluster, folder, environment)
    over = threading.Event()

    def serve() -> None:
        while not over.wait(INTERVAL):
            kubelet.sync()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield kubelet
    finally:
        over.set()
        thread.join()
        kubelet.close()
