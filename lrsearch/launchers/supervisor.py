"""Run a sweep by the workers of any launcher until it is done, stopped or interrupted."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lrsearch.config.storage import command_on
from lrsearch.launchers.base import Display, JobState, Launcher, News, Sweep, idle
from lrsearch.queue.owners import is_dead
from lrsearch.states import Outcome, StudyState, WorkState
from lrsearch.storage.outages import passes
from lrsearch.study.progress import Progress, Snapshot
from lrsearch.text.shell import name_word
from lrsearch.workers.patience import DatabaseSilent, Patience


class Supervisor:
    """Starts workers for the open work of a study, shows its progress, and stops the workers.

    Waits for the trials of workers elsewhere that serve the same study, too.
    """

    def __init__(
        self, sweep: Sweep, launcher: Launcher, progress: Progress, display: Display
    ) -> None:
        self.sweep, self.launcher = sweep, launcher
        self.progress, self.display = progress, display
        self.interrupts = 0
        self.timed_out = False
        self.is_left = False
        """Whether the terminal was closed and the workers go on without this process."""
        self._seen = 0
        self._news = News()
        self._snapshot = Snapshot(
            total=0, running=[], state=StudyState.OPEN, stopped=None, hand_back=False
        )
        self._patience = Patience(sweep.locations.url, sweep.patience, say=display.say)

    def run(self, timeout: float | None) -> None:
        """Run until all is done, the study is stopped, its `timeout` (s) is up, or Ctrl-C.

        Afterwards no worker of the launcher is alive and none of their work is in the state
        RUNNING, unless the terminal was closed and the workers outlive it. Raises WorkersFailed
        when workers die before they finish a trial, and DatabaseSilent where the database does not
        answer for too long; workers that outlive this process then go on as long as they can.
        """
        queue = self.sweep.queue
        self._reclaim_dead()
        queue.tick()
        finished = self.progress.finished()
        self._seen = finished[-1].order if finished else 0
        with self._interruptible():
            try:
                while self._turn(timeout):
                    time.sleep(self.display.interval)
            finally:
                if not self.is_left:
                    self.launcher.stop(self.launcher.alive(), at_once=True)
                self.launcher.close()
            if self.is_left:
                return
            self._reclaim_dead(blame=False)
            self._refresh(None)
            queue.tick()
            if not self._snapshot.owners:
                queue.rest()

    def _turn(self, timeout: float | None) -> bool:
        """Act once on the state of the study and its workers; return whether to go on."""
        if self.is_left:
            return False
        try:
            self._stop()  # first: an interrupt needs no database
            self._refresh(timeout)
            self.launcher.watch(self._news)
            if not self._is_stopping():
                self._start()
        except Exception as error:
            if not passes(error):
                raise
            self._wait(error)
            return self.interrupts < 2 and not (self.interrupts and not self.launcher.alive())
        self._patience.answered()
        if self.launcher.alive():
            return True
        if self.interrupts or self._snapshot.state in (StudyState.STOPPED, StudyState.FAILED):
            return False
        counts = self.sweep.queue.work()
        return bool(counts[WorkState.OPEN] or counts[WorkState.RUNNING])

    def _stop(self) -> None:
        """Have workers hand their work back, or end, as far as the study or an interrupt wants."""
        jobs = self.launcher.alive()
        if self._is_stopping():
            self.launcher.stop(jobs, at_once=self.interrupts > 1)
        elif self._snapshot.state != StudyState.OPEN:
            # Those that wait would find nothing to do.
            self.launcher.stop([job for job in jobs if job.state == JobState.WAITING])

    def _wait(self, error: Exception) -> None:
        """Note that the database did not answer. Raises DatabaseSilent in the end."""
        try:
            self._patience.failed(error)
        except DatabaseSilent:
            self.is_left = self.launcher.outlives
            raise

    def _refresh(self, timeout: float | None) -> None:
        """Read the state of the study and show it; stop the study when its time is up."""
        auxiliary_done = self._snapshot.auxiliary_done
        jobs = self.launcher.alive()
        self._snapshot = dataclasses.replace(
            self.progress.snapshot(),
            starting=sum(job.is_starting for job in jobs),
            waiting_jobs=sum(job.state == JobState.WAITING for job in jobs),
        )
        new = self.progress.finished(self._seen)
        if new:
            self._seen = new[-1].order
        self.display.update(self._snapshot, new)
        if self._snapshot.state == StudyState.PAUSED:
            words = ("resume", name_word(self.sweep.name))
            again = command_on(self.sweep.locations.url, *words)
            self.sweep.say_once(f"paused; to go on: {again}")
        if timeout is not None and self.sweep.queue.stop_at_limit(timeout):
            self.timed_out = True
        ended_well = any(finished.outcome != Outcome.CRASHED for finished in new)
        self._news = News(
            is_stopping=self._is_stopping(),
            ended_well=ended_well or self._snapshot.auxiliary_done > auxiliary_done,
        )

    def _is_stopping(self) -> bool:
        """Return whether running trials are to be handed back."""
        return bool(self.interrupts or self.timed_out or self._snapshot.hand_back)

    def _start(self) -> None:
        """Start a worker for each open piece of work that no idle worker is about to claim."""
        jobs = self.launcher.alive()
        free = self.launcher.most() - len(jobs)
        if free <= 0 or self._snapshot.state != StudyState.OPEN:
            return
        counts = self.sweep.queue.work()
        can_begin = counts[WorkState.OPEN]
        if (most := self.sweep.queue.max_running()) is not None:
            can_begin = min(can_begin, most - counts[WorkState.RUNNING])
        wanted = can_begin - idle(jobs, self._snapshot.owners)
        if not jobs and counts[WorkState.RUNNING]:
            wanted = max(wanted, 1)  # to take over if workers elsewhere die
        if (count := min(free, wanted)) > 0:
            self.launcher.start(count)

    def _reclaim_dead(self, blame: bool = True) -> None:
        self.sweep.reclaim_dead(is_dead, blame)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Count Ctrl-C and SIGTERM within the block, instead of ending the process.

        A closed terminal (SIGHUP) leaves workers that outlive it alone; a command that ignores it
        (nohup) goes on. Signals arrive in the main thread: from another one, nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(*_: object) -> None:
            self.interrupts += 1
            if self.interrupts == 1:
                self.display.say("stopping: running trials are handed back; again to stop at once")

        def leave(*_: object) -> None:
            self.is_left = True

        handlers = {signal.SIGINT: interrupt, signal.SIGTERM: interrupt}
        if self.launcher.outlives and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            handlers[signal.SIGHUP] = leave
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
