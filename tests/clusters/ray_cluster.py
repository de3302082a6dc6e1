"""A Ray cluster on this machine, whose nodes come and go as machines do."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

_MEMORY = 80 * 2**20
"""Bytes of each node's object store, about the least that Ray takes."""
_HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}
"""A lost node is noticed within seconds."""


class RayCluster:
    """A cluster whose head runs no workers."""

    def __init__(self, folder: str) -> None:
        """Start the head, whose files are in a folder, and which takes Ray's client, too."""
        from ray.cluster_utils import Cluster

        self.folder = Path(folder)
        client_port = _free_port()
        self.client_address = f"ray://127.0.0.1:{client_port}"
        self._raylets: dict[Any, psutil.Process] = {}
        self._cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": _MEMORY,
                "include_dashboard": False,
                "temp_dir": folder,
                "ray_client_server_port": client_port,
                "_system_config": _HEALTH,
            },
        )
        self.address: str = self._cluster.address

    def add_node(self, cpus: int = 1, gpus: int = 0) -> Any:
        """Start a node and wait until the cluster has it."""
        before = set(_raylets())
        node = self._cluster.add_node(
            num_cpus=cpus, num_gpus=gpus, object_store_memory=_MEMORY, include_dashboard=False
        )
        (self._raylets[node],) = set(_raylets()) - before
        return node

    def lose_node(self, node: Any) -> None:
        """Kill all that runs on a node, as when its machine loses power."""
        raylet = self._raylets.pop(node)
        for process in [raylet, *raylet.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        """Kill what runs on the nodes, and end the cluster."""
        for node in list(self._raylets):
            self.lose_node(node)
        self._cluster.shutdown()


@contextlib.contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """A cluster without nodes for workers, for the length of the block."""
    folder = tempfile.mkdtemp(prefix="lrray-", dir="/tmp")  # paths of sockets must be short
    before = os.environ.pop("RAY_ADDRESS", None)
    try:
        cluster = RayCluster(folder)
        try:
            yield cluster
        finally:
            cluster.close()
    finally:
        if before is not None:
            os.environ["RAY_ADDRESS"] = before
        shutil.rmtree(folder, ignore_errors=True)


def _raylets() -> list[psutil.Process]:
    """The processes of this one that run a node."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name().startswith("raylet")]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
