"""The actor that holds the place of a worker on a node of a Ray cluster.

It imports little: each actor is a process of its own beside the worker's.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lrsearch.launchers.early_deaths import tail
from lrsearch.launchers.node import Node
from lrsearch.workers.device_slots import DeviceSlot
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.process_tree import kill_tree
from lrsearch.workers.stop import Stop

_OWN_OUTPUT = "/dev/stdout"
"""The output of an actor, which Ray has made a file."""
_KEPT = 20.0
"""Seconds that an actor waits after its worker's end, for a supervisor that asks how it ended."""


@dataclass(frozen=True)
class WorkerCommand:
    """How a node starts a worker."""

    words: tuple[str, ...]
    """Words after `python -m lrsearch`."""
    environment: Mapping[str, str] = field(repr=False)
    """Environment variables besides those of the node; one of them may hold a password."""
    folder: str | None
    """Working directory; None for the one that Ray has made for the actor."""
    log: str | None
    """Log file; None for the log that Ray keeps of the actor."""


@dataclass(frozen=True)
class ActorStatus:
    """The worker of an actor."""

    actor_id: str
    host: str
    code: ExitCode | None
    """How it has ended; None while it works."""
    tail: str
    """Last lines of its log, once it has ended."""


class WorkerActor:
    """A worker on the node where Ray has placed this actor.

    The worker is a process, and not this actor itself, so that it can be killed where it stalls,
    has signal handlers, and trains in its main thread; another takes its place when it dies. The
    actor ends a little after it, and the worker hands its work back when the actor dies. When Ray
    restarts the actor, on this node or another one, all begins again.
    """

    def __init__(self, command: WorkerCommand) -> None:
        """Start a worker."""
        self._output = command.log or _OWN_OUTPUT
        if command.folder is not None:
            os.chdir(command.folder)
        if command.log is not None:  # what this actor and its worker write
            with Path(command.log).open("ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        self._told = threading.Event()
        self._code: ExitCode | None = None
        slot = DeviceSlot("the place of this actor")  # Ray has set the variables of its GPUs
        stop = Stop(self._told.is_set, self._told.wait)
        node = Node([slot], command.words, command.environment, stop)
        threading.Thread(target=self._run, args=(node,), name="node", daemon=True).start()

    def status(self) -> ActorStatus:
        """Return how the worker is."""
        import ray

        actor_id = ray.get_runtime_context().get_actor_id() or ""
        shown = "" if self._code is None else tail(Path(self._output))
        return ActorStatus(actor_id, socket.gethostname(), self._code, shown)

    def stop(self, at_once: bool = False) -> None:
        """Have the worker hand its work back and end, or kill it with all that it has started."""
        self._told.set()
        if at_once:
            for process in psutil.Process().children():
                kill_tree(process.pid)

    def _run(self, node: Node) -> None:
        """Work until the end, and end this actor, although nobody may have asked how."""
        import ray

        code = ExitCode.BROKEN
        try:
            code = node.run()
        finally:
            self._code = code
            time.sleep(_KEPT)
            ray.kill(ray.get_runtime_context().current_actor)
