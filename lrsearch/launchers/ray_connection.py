"""The connection of this process to a Ray cluster, and why there is none."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lrsearch.errors import UserError
from lrsearch.text.redaction import redacted

LOCAL = "local"
"""The address that stands for a cluster of this machine, started for the sweep."""
AUTO = "auto"
"""The address that stands for the cluster to which Ray connects by itself."""
NAMESPACE = "lrsearch"
"""Namespace of the names of actors."""
_CONNECT = 5.0
"""Seconds within which the cluster's port must answer."""
_CURRENT = Path("/tmp/ray/ray_current_cluster")


def connect(address: str, runtime_env: Mapping[str, Any]) -> bool:
    """Connect this process to a cluster; return False where it is connected already.

    Raises UserError.
    """
    ray = _import_ray()
    if ray.is_initialized():
        return False
    if address != LOCAL and (fault := _out_of_reach(address)):
        raise UserError(fault)
    if address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody was asked
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            runtime_env=dict(runtime_env) or None,
            log_to_driver=False,
            logging_level="ERROR",
            **({"include_dashboard": False} if address == LOCAL else {}),
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        if "exceeds the maximum size" in str(error):
            raise UserError(
                f"launcher.working_dir: {runtime_env.get('working_dir')} is too large to be copied "
                f"to the nodes: name what is no code in .gitignore, give a folder with your "
                f"modules alone, or none where all nodes have this folder"
            ) from error
        if isinstance(error, ConnectionError) and address == AUTO:
            raise UserError(
                "launcher.address: Ray finds no cluster from this machine (auto looks at "
                "RAY_ADDRESS, then for one on this machine): give its address, such as "
                "launcher.address=ray://10.0.0.1:10001, start one with `ray start --head`, or "
                "set launcher.address=local"
            ) from error
        # Of several lines: Ray adds hints.
        raise UserError(
            f"launcher: cannot use Ray at address={address}: {redacted(str(error))}"
        ) from error
    return True


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError("launcher=ray needs the package ray: pip install 'lrsearch[ray]'") from None
    return ray


def _out_of_reach(address: str) -> str | None:
    """Return why no cluster answers at an address; None where one may.

    Ray would try for a quarter of an hour.
    """
    given = address
    if address == AUTO:
        with contextlib.suppress(OSError):
            address = os.environ.get("RAY_ADDRESS") or _CURRENT.read_text().strip()
    if address == AUTO:
        return None  # Ray looks for one on this machine
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        return (
            f"launcher.address: {given!r} is not `auto`, `local` or an address such as "
            f"10.0.0.1:6379 or ray://10.0.0.1:10001"
        )
    try:
        socket.create_connection((host, port), timeout=_CONNECT).close()
    except OSError as error:
        return (
            f"launcher.address: no Ray cluster answers at {address} ({error.strerror or error}): "
            f"start one with `ray start --head`, or set launcher.address=local"
        )
    return None
