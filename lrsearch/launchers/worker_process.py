"""A worker process of this machine, on a slot of its own, with its heartbeat."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from lrsearch.workers.device_slots import DeviceSlot
from lrsearch.workers.heartbeat import HeartbeatListener
from lrsearch.workers.process_tree import is_stopped, kill_tree
from lrsearch.workers.stall import no_progress


@dataclass
class WorkerProcess:
    """A worker that this process has started."""

    number: int
    """Counts all workers that were started, from 0."""
    slot_index: int
    slot: DeviceSlot
    process: subprocess.Popen[bytes]
    heartbeat: HeartbeatListener
    log: Path = Path(os.devnull)
    """Its log; the null device where it writes where this process does."""
    is_terminated: bool = False
    """Whether SIGTERM was sent."""
    stalled: str | None = None
    """Why it was killed for its silence, where it was."""

    @classmethod
    def start(
        cls,
        number: int,
        slot_index: int,
        slot: DeviceSlot,
        words: Sequence[str],
        environment: Mapping[str, str],
        log: Path = Path(os.devnull),
        output: BinaryIO | None = None,
    ) -> Self:
        """Start `python -m lrsearch WORDS` on a slot, with further environment variables."""
        heartbeat = HeartbeatListener()
        parent = ("--parent", str(os.getpid()), "--heartbeat", str(heartbeat.write))
        process = subprocess.Popen(
            [sys.executable, "-m", "lrsearch", *words, *parent],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env={**os.environ, **slot.environment, **environment},
            start_new_session=True,
            pass_fds=(heartbeat.write,),
        )
        heartbeat.started()
        return cls(number, slot_index, slot, process, heartbeat, log)

    def kill_if_silent(self) -> None:
        """Kill it where it has no heartbeat: none of its threads runs any more."""
        seconds = self.heartbeat.silence()
        if seconds is None or self.process.poll() is not None:
            return
        if is_stopped(self.process.pid):
            self.heartbeat.forgive()
            return
        self.stalled = no_progress(seconds)
        self.kill()

    def terminate(self) -> None:
        """Send SIGTERM, once: it hands its work back and ends."""
        if self.process.poll() is None and not self.is_terminated:
            self.process.terminate()
            self.is_terminated = True

    def kill(self) -> None:
        """Kill it and all that it has started, and wait for its end."""
        if self.process.poll() is None:
            kill_tree(self.process.pid)
        self.process.wait()
