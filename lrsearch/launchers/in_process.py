"""Train a study in this process, as for a function of a notebook."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
import threading
from collections.abc import Iterator

from lrsearch.errors import UserError
from lrsearch.launchers.base import Display, Sweep
from lrsearch.queue.owners import host_name, is_dead
from lrsearch.states import WorkState
from lrsearch.storage.outages import passes
from lrsearch.study.index import StudyIndex
from lrsearch.study.progress import Progress
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.service import serve
from lrsearch.workers.stop import Stop

_log = logging.getLogger(__name__)


class InProcess:
    """Serves the study from this process, with the loop of a worker, until nothing is left."""

    def __init__(self, sweep: Sweep, progress: Progress, display: Display) -> None:
        self.sweep, self.progress, self.display = sweep, progress, display
        self.interrupts = 0
        self.timed_out = False
        self.is_left = False
        self._stopping = threading.Event()
        self._seen = 0
        self._has_begun = False
        """Whether any work has been claimed: the user's code has been imported by then."""

    def run(self, timeout: float | None) -> None:
        """Train until all is done, the study is stopped, its `timeout` (s) is up, or Ctrl-C.

        Ctrl-C, or the interruption of a notebook, hands the running trial back at its next report
        or call of `should_stop`; a second one does so at once. Raises UserError where the study
        cannot be served by this process.
        """
        self.sweep.reclaim_dead(is_dead)
        self.sweep.queue.tick()
        finished = self.progress.finished()
        self._seen = finished[-1].order if finished else 0

        def wait(seconds: float) -> bool:
            return self._stopping.wait(seconds)

        stop = Stop(self._stopping.is_set, wait, owns_process=False)
        try:
            with self._interruptible(), self._shown():
                assignment = Assignment((self.sweep.name,), until_empty=True)
                code = serve(self.sweep.locations, assignment, stop)
        except KeyboardInterrupt:  # a second one, outside of a trial
            self.interrupts += 1
            code = ExitCode.HANDED_BACK
        finally:
            self._show()
            self.timed_out = self.sweep.queue.stop_at_limit(timeout)
            if not self.sweep.queue.work()[WorkState.RUNNING]:
                self.sweep.queue.rest()
        if code == ExitCode.REFUSED:
            raise UserError(self._refusal())

    def _refusal(self) -> str:
        """Return why this machine cannot serve the study."""
        studies = StudyIndex(self.sweep.session_of).statuses()
        (study,) = (study for study in studies if study.name == self.sweep.name)
        return study.refusals.get(host_name(), f"this process lacks what {study.name} needs")

    def _show(self) -> None:
        new = self.progress.finished(self._seen)
        if new:
            self._seen = new[-1].order
        snapshot = self.progress.snapshot()
        self._has_begun |= bool(snapshot.owners or new)
        starting = 0 if self._has_begun else 1
        self.display.update(dataclasses.replace(snapshot, starting=starting), new)

    @contextlib.contextmanager
    def _shown(self) -> Iterator[None]:
        """Update the display from a thread beside the training within the block."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(self.display.interval):
                try:
                    self._show()
                except Exception as error:  # noqa: BLE001 - the display must not end the training
                    if not passes(error):
                        _log.exception("the display could not be updated")
                        return

        thread = threading.Thread(target=watch, name="display", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Turn Ctrl-C within the block into a request to stop; a second one is raised.

        Signals arrive in the main thread: from another one, nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: object) -> None:
            self.interrupts += 1
            self._stopping.set()
            if self.interrupts > 1:
                raise KeyboardInterrupt
            self.display.say(
                "stopping: the running trial is handed back when it next reports; "
                "again to stop at once"
            )

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
