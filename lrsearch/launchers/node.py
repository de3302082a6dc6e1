"""Several workers on one machine, as one process with one exit code: `worker --count N`."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence

from lrsearch.launchers.worker_process import WorkerProcess
from lrsearch.workers.device_slots import DeviceSlot
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.process_tree import kill_group
from lrsearch.workers.stop import Stop

LIMIT = 3
"""Number of workers that may die in a row on one slot, before one of them has ended any work."""
_INTERVAL = 0.5
"""Seconds between two looks at the workers."""
_FINAL = (ExitCode.DONE, ExitCode.REFUSED, ExitCode.BAD_INPUT)
"""Exit codes after which no worker is started on the same slot."""

_log = logging.getLogger(__name__)


class Node:
    """Runs a worker on each slot, and starts another where one dies, until all have ended.

    The workers write where this process does. They are stopped with it, and end by themselves
    where it is killed.
    """

    def __init__(
        self,
        slots: Sequence[DeviceSlot],
        words: Sequence[str],
        environment: Mapping[str, str],
        stop: Stop,
        interval: float = _INTERVAL,
    ) -> None:
        """`words` follow `python -m lrsearch` in the command line of each worker."""
        self._slots, self._words, self._environment = slots, words, environment
        self._stop, self._interval = stop, interval
        self._workers: dict[int, WorkerProcess] = {}
        """By the number of their slot."""
        self._ends: dict[int, ExitCode] = {}
        """How the last worker of a slot has ended, where no other is started."""
        self._deaths = [0] * len(slots)
        self._started = 0

    def run(self) -> ExitCode:
        """Run until all workers have ended; return the exit code of all together."""
        try:
            while True:
                is_ending = self._stop.is_set() or ExitCode.BAD_INPUT in self._ends.values()
                for worker in list(self._workers.values()):
                    worker.kill_if_silent()
                    if is_ending:
                        worker.terminate()
                    if (code := worker.process.poll()) is not None:
                        self._ended(worker, code, is_ending)
                if not is_ending:
                    self._start()
                if not self._workers:
                    return code_of_all(self._ends.values(), is_ending)
                # The request to stop ends each wait at once.
                (time.sleep if is_ending else self._stop.wait)(self._interval)
        finally:
            for worker in self._workers.values():
                worker.kill()

    def _start(self) -> None:
        """Start a worker on each slot that is free and not given up."""
        for index, slot in enumerate(self._slots):
            if index in self._workers or index in self._ends:
                continue
            number = self._started
            words = [*self._words, "--number", str(number)]
            self._workers[index] = WorkerProcess.start(
                number, index, slot, words, self._environment
            )
            self._started += 1
            pid = self._workers[index].process.pid
            _log.info("worker %d (process %d) begins on %s", number, pid, slot.name)

    def _ended(self, worker: WorkerProcess, code: int, is_ending: bool) -> None:
        """Remove a worker that has ended, and decide whether another takes its place."""
        index = worker.slot_index
        del self._workers[index]
        worker.heartbeat.silence()  # reads what it has reported last
        if worker.heartbeat.has_worked:
            self._deaths[index] = 0
        worker.heartbeat.close()
        end = ExitCode(code) if code in [*ExitCode] else ExitCode.BROKEN
        if end != ExitCode.DONE:
            kill_group(worker.process.pid)  # the processes that it had started
        how = worker.stalled or (f"signal {-code}" if code < 0 else f"exit code {code}")
        self._deaths[index] += end == ExitCode.BROKEN and worker.stalled is None
        if is_ending or end in _FINAL:
            self._ends[index] = end
            _log.info("worker %d has ended: %s", worker.number, how)
        elif self._deaths[index] >= LIMIT:
            self._ends[index] = ExitCode.BROKEN
            _log.error(
                "worker %d has died: %s; %s is given up, where %d have died in a row",
                *(worker.number, how, worker.slot.name, LIMIT),
            )
        else:
            _log.warning("worker %d has ended: %s; another begins", worker.number, how)


def code_of_all(codes: Collection[ExitCode], was_stopped: bool) -> ExitCode:
    """Return the exit code of several workers together.

    Where one has done what was left, or handed work back, those that could not work do not count.
    Where all of them were killed while they were stopped, work is left, too.
    """
    order = (ExitCode.BAD_INPUT, ExitCode.HANDED_BACK, ExitCode.DONE, ExitCode.REFUSED)
    otherwise = ExitCode.HANDED_BACK if was_stopped else ExitCode.BROKEN
    return next((code for code in order if code in codes), otherwise)
