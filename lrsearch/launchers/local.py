"""Start the workers of a sweep on this machine and supervise them until it is done."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import LrsearchError
from lrsearch.files import new_file
from lrsearch.launchers.base import Display
from lrsearch.queue.endings import Endings
from lrsearch.queue.owners import host_name, is_dead
from lrsearch.queue.queue import Queue
from lrsearch.states import Outcome, StudyState, WorkState
from lrsearch.storage.outages import passes
from lrsearch.study.progress import Progress, Snapshot
from lrsearch.text.shell import command, name_word
from lrsearch.training.out_of_memory import OomKills
from lrsearch.workers.device_slots import DeviceSlot
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.heartbeat import HeartbeatListener
from lrsearch.workers.locations import Locations
from lrsearch.workers.process_tree import is_stopped, kill_group, kill_tree
from lrsearch.workers.stall import no_progress

_EARLY_DEATHS = 3
"""Number of different trials at which workers may die before one ends well; then the sweep ends.

A worker that dies before it has claimed a trial counts like one more.
"""
_LONGEST_KILL = 10.0
"""Seconds within which a process that the kernel has killed for want of memory is gone."""
_LOG_TAIL = 30
"""Lines of a dead worker's log that are shown."""


_NO_MEMORY = (
    "the memory of its control group ran out, and the kernel killed it (smaller batches, fewer "
    "workers or more memory help)"
)


class WorkersFailed(LrsearchError):
    """Workers die before they finish a trial; the message has the end of a log."""


@dataclass
class _Worker:
    number: int
    """Counts all workers that were started, from 0."""
    slot_index: int
    slot: DeviceSlot
    process: subprocess.Popen[bytes]
    log: Path
    heartbeat: HeartbeatListener
    is_terminated: bool = False
    """Whether SIGTERM was sent."""
    stalled: str | None = None
    """Why the launcher killed it, where it did."""


class Launcher:
    """Runs workers until the study has nothing left, and replaces those that die.

    Waits for the trials of workers elsewhere that serve the same study, too.
    """

    def __init__(
        self,
        name: str,
        locations: Locations,
        slots: list[DeviceSlot],
        queue: Queue,
        session_of: sessionmaker[Session],
        endings: Endings,
        progress: Progress,
        display: Display,
        logs: Path,
    ) -> None:
        self.name, self.locations, self.slots = name, locations, slots
        self.queue, self.progress = queue, progress
        self.session_of, self.endings = session_of, endings
        self.display, self.logs = display, logs
        self.interrupts = 0
        self.timed_out = False
        self._workers: list[_Worker] = []
        self._started = 0
        self._early_deaths: set[tuple[str, int]] = set()
        """At what workers have died since a trial last ended well."""
        self._kills = OomKills()
        self._killed_at: list[float] = []
        """Times at which the kernel's kills were seen that are no worker's yet."""
        self._seen = 0
        self._snapshot = Snapshot(
            total=0, running=[], state=StudyState.OPEN, stopped=None, hand_back=False
        )
        self._said: set[str] = set()

    def run(self, timeout: float | None) -> None:
        """Run until all is done, the study is stopped, its `timeout` (s) is up, or Ctrl-C.

        Afterwards no work of this machine's workers is in the state RUNNING. Raises WorkersFailed
        when workers die before they finish a trial.
        """
        self._reclaim_dead()
        self.queue.tick()
        finished = self.progress.finished()
        self._seen = finished[-1].order if finished else 0
        with self._interruptible():
            try:
                while self._turn(timeout):
                    time.sleep(self.display.interval)
            finally:
                self._kill()
                self._reclaim_dead(blame=False)
                self._refresh(None)
                self.queue.tick()
                if not self._snapshot.owners:
                    self.queue.rest()

    def _turn(self, timeout: float | None) -> bool:
        """Act once on the state of the study and its workers; return whether to go on."""
        try:
            self._refresh(timeout)
            self._count_kills()
            if self._is_stopping():
                self._terminate()
            if self.interrupts > 1:
                self._kill()
            self._kill_silent()
            self._remove_ended()
            if not self._is_stopping():
                self._hire()
        except Exception as error:
            if not passes(error):
                raise
            self._say_once("the database does not answer; training goes on, waiting for it")
            return not (self.interrupts and not self._workers)
        if self._workers:
            return True
        if self.interrupts or self._snapshot.state in (StudyState.STOPPED, StudyState.FAILED):
            return False
        counts = self.queue.work()
        return bool(counts[WorkState.OPEN] or counts[WorkState.RUNNING])

    def _refresh(self, timeout: float | None) -> None:
        """Read the state of the study and show it; stop the study when its time is up."""
        auxiliary_done = self._snapshot.auxiliary_done
        starting = sum(not worker.heartbeat.is_heard for worker in self._workers)
        self._snapshot = dataclasses.replace(self.progress.snapshot(), starting=starting)
        new = self.progress.finished(self._seen)
        if new:
            self._seen = new[-1].order
        ended_well = any(finished.outcome != Outcome.CRASHED for finished in new)
        if ended_well or self._snapshot.auxiliary_done > auxiliary_done:
            self._early_deaths = set()
        self.display.update(self._snapshot, new)
        if self._snapshot.state == StudyState.PAUSED:
            self._say_once(f"paused; to go on: {command('resume', name_word(self.name))}")
        if timeout is not None and self.queue.stop_at_limit(timeout):
            self.timed_out = True

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.display.say(line)

    def _is_stopping(self) -> bool:
        """Return whether running trials are to be handed back."""
        return bool(self.interrupts or self.timed_out or self._snapshot.hand_back)

    def _hire(self) -> None:
        """Start a worker for each open piece of work that no idle worker is about to claim."""
        free_slots = len(self.slots) - len(self._workers)
        if not free_slots or self._snapshot.state != StudyState.OPEN:
            return
        counts = self.queue.work()
        busy = {owner.rsplit("/", 1)[0] for owner in self._snapshot.owners}
        names = [f"{host_name()}/{worker.process.pid}" for worker in self._workers]
        idle = sum(name not in busy for name in names)
        wanted = counts[WorkState.OPEN] - idle
        if not self._workers and counts[WorkState.RUNNING]:
            wanted = max(wanted, 1)  # to take over if workers elsewhere die
        for _ in range(max(0, min(free_slots, wanted))):
            taken = {worker.slot_index for worker in self._workers}
            slot_index = next(k for k in range(len(self.slots)) if k not in taken)
            self._workers.append(self._start(slot_index))

    def _start(self, slot_index: int) -> _Worker:
        number, slot = self._started, self.slots[slot_index]
        self._started += 1
        log = self.logs / f"worker-{number}.log"
        checkpoints = self.locations.checkpoints
        environment = {
            **os.environ,
            **slot.environment,
            # URLs may hold a password, which all users of the machine could read in a command line.
            "LRSEARCH_STORAGE": self.locations.url,
            **({"LRSEARCH_CHECKPOINTS": checkpoints} if checkpoints else {}),
        }
        heartbeat = HeartbeatListener()
        arguments = (
            *("worker", "--sweep", self.name, "--until-empty"),
            *("--parent", str(os.getpid()), "--heartbeat", str(heartbeat.write)),
            f"output_dir={self.locations.outputs}",
        )
        with self._log_file(log) as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "lrsearch", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=(heartbeat.write,),
            )
        heartbeat.started()
        return _Worker(number, slot_index, slot, process, log, heartbeat)

    def _kill_silent(self) -> None:
        """Kill the workers without a heartbeat: none of their threads runs any more."""
        for worker in self._workers:
            seconds = worker.heartbeat.silence()
            if seconds is None or worker.process.poll() is not None:
                continue
            if is_stopped(worker.process.pid):
                worker.heartbeat.forgive()
                continue
            worker.stalled = no_progress(seconds)
            kill_tree(worker.process.pid)
            worker.process.wait()

    def _log_file(self, log: Path) -> BinaryIO:
        """Create the log file of a worker; where that fails, its output is discarded."""
        try:
            return new_file(log)
        except OSError as error:
            self._say_once(
                f"cannot write to {self.logs}: {error.strerror}; the workers go on without logs"
            )
            return Path(os.devnull).open("wb")

    def _remove_ended(self) -> None:
        """Remove the workers that have ended, and reclaim the work of those that died."""
        for worker in [w for w in self._workers if w.process.poll() is not None]:
            code = worker.process.returncode
            out_of_memory = self._ran_out_of_memory(worker)
            work = self._reclaim_work(worker, out_of_memory)
            self._workers.remove(worker)
            worker.heartbeat.close()
            if code == 0:
                continue
            kill_group(worker.process.pid)  # the processes that it had started
            if self._is_stopping():
                continue
            if worker.stalled or code == ExitCode.STALLED:
                # The training is at fault, not the worker: this is no early death.
                cause = worker.stalled or "its training made no progress"
                self._say_replaced(worker, f"was ended: {cause}")
                continue
            if out_of_memory and work:
                self._say_replaced(worker, f"was killed: {_NO_MEMORY}")
                continue
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._early_deaths |= work or {("worker", worker.number)}
            if len(self._early_deaths) >= _EARLY_DEATHS or code == 2:
                raise WorkersFailed(
                    f"worker {worker.number} ({worker.slot.name}) cannot work ({how}):\n"
                    f"{_tail(worker.log)}\n(the whole log: {worker.log})"
                )
            self._say_replaced(worker, f"died ({how})")

    def _say_replaced(self, worker: _Worker, what: str) -> None:
        self.display.say(
            f"worker {worker.number} (process {worker.process.pid}, {worker.slot.name}) {what}; "
            f"another takes its place. Its log: {worker.log}"
        )

    def _reclaim_dead(self, blame: bool = True) -> None:
        self.endings.reclaim_dead(self.session_of, is_dead, blame)

    def _reclaim_work(self, worker: _Worker, out_of_memory: bool) -> set[tuple[str, int]]:
        """Reclaim what a worker that has ended was working on, and return it."""
        name = f"{host_name()}/{worker.process.pid}/"
        return self.endings.reclaim_dead(
            self.session_of,
            lambda owner: owner.startswith(name) and is_dead(owner),
            blame=not self._is_stopping(),
            cause=f"out of memory: {_NO_MEMORY}" if out_of_memory else worker.stalled,
            out_of_memory=out_of_memory,
        )

    def _count_kills(self) -> None:
        now = time.monotonic()
        self._killed_at = [at for at in self._killed_at if now - at < _LONGEST_KILL]
        self._killed_at += [now] * self._kills.new()

    def _ran_out_of_memory(self, worker: _Worker) -> bool:
        """Return whether the kernel killed a worker for want of memory; each kill is one worker's.

        Any other SIGKILL, such as one of the launcher's own, is none.
        """
        if worker.process.returncode != -signal.SIGKILL or worker.stalled or self._is_stopping():
            return False
        self._count_kills()
        if not self._killed_at:
            return False
        self._killed_at.pop()
        return True

    def _terminate(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None and not worker.is_terminated:
                worker.process.terminate()
                worker.is_terminated = True

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                kill_tree(worker.process.pid)
            worker.process.wait()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Count Ctrl-C and SIGTERM within the block, instead of ending the process.

        Signals arrive in the main thread: from another one, nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def count(number: int, _: object) -> None:
            self.interrupts += 1
            if self.interrupts == 1:
                self.display.say("stopping: running trials are handed back; again to stop at once")

        before = {
            number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-_LOG_TAIL:]) or "(its log is empty)"
