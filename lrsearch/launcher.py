"""Starts the workers of a sweep on this machine and looks after them until it is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lrsearch.display import Display
from lrsearch.errors import LrsearchError
from lrsearch.study.progress import Progress
from lrsearch.study.queue import MAX_ATTEMPTS, Outcome, Queue, is_dead
from lrsearch.study.tables import FAILED, OPEN, RUNNING
from lrsearch.study.trials import Trials

_CHARGE_SECONDS = 10
_EARLY_DEATHS = 3
"""So many workers in a row that die before they finish a trial end the sweep."""
_LOG_TAIL = 30


class WorkersFailed(LrsearchError):
    """The workers cannot work; the message has the end of their log."""


@dataclass(frozen=True)
class Place:
    """Where a worker runs: a GPU by its number, or a core."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)


def places(workers: int | str, device: str, threads: int) -> list[Place]:
    """One place a worker: each GPU that can be seen, else each core (with `threads` of them)."""
    gpus = _visible_gpus() if device in ("auto", "cuda") else []
    if gpus:
        count = len(gpus) if workers == "auto" else int(workers)
        chosen = [gpus[k % len(gpus)] for k in range(count)]
        return [Place(f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in chosen]
    if workers == "auto":
        one_device = device.startswith(("cuda", "mps")) or _has_metal(device)
        workers = 1 if one_device else max(1, available_cores() // threads)
    return [Place(f"core {k}") for k in range(int(workers))]


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _visible_gpus() -> list[str]:
    """CUDA devices by the number or name that CUDA_VISIBLE_DEVICES takes."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [one.strip() for one in chosen.split(",") if one.strip() not in ("", "-1")]
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/dxg").exists():
        return []  # no driver: do not pay for importing torch to hear it
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _has_metal(device: str) -> bool:
    return device == "auto" and sys.platform == "darwin"


@dataclass
class _Worker:
    number: int
    slot: int
    place: Place
    process: subprocess.Popen[bytes]
    log: Path


class _Clock:
    """Charges the study for the wall clock of this run, often enough to survive a crash."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._started = self._charged = time.monotonic()

    def charge(self, now: bool = False) -> float:
        """The seconds of this run so far."""
        time_now = time.monotonic()
        if now or time_now - self._charged > _CHARGE_SECONDS:
            self._queue.spend(time_now - self._charged)
            self._charged = time_now
        return time_now - self._started


class Launcher:
    """Runs workers until the study has nothing left, and replaces those that die."""

    def __init__(
        self,
        name: str,
        url: str,
        where: list[Place],
        queue: Queue,
        trials: Trials,
        progress: Progress,
        display: Display,
        logs: Path,
    ) -> None:
        self.name, self.url, self.where = name, url, where
        self.queue, self.trials, self.progress = queue, trials, progress
        self.display, self.logs = display, logs
        self.interrupts = 0
        self.timed_out = False
        self._workers: list[_Worker] = []
        self._started = 0
        self._early_deaths = 0
        self._seen = 0
        self.stopped: str | None = None

    def run(self, timeout: float | None) -> None:
        """Returns when all is done, when the study's time is up, or after Ctrl-C.

        Nothing is left RUNNING. Raises WorkersFailed when workers die before they can work.
        """
        self.clean_up()
        finished = self.progress.finished()
        self._seen = finished[-1].order if finished else 0
        told = False
        spent, clock = self.queue.spent(), _Clock(self.queue)
        with self._interruptible():
            try:
                while True:
                    self._refresh()
                    over = timeout is not None and spent + clock.charge() >= timeout
                    self.timed_out = self.timed_out or over
                    stopping = bool(self.interrupts or self.timed_out or self.stopped)
                    if stopping and not told:
                        self._tell_to_stop()
                        told = True
                    if self.interrupts > 1:
                        self._kill()
                    self._bury(stopping)
                    if not stopping:
                        self._hire()
                    if not self._workers:
                        break
                    time.sleep(self.display.interval)
            finally:
                self._kill()
                self.clean_up()
                self._refresh()
                clock.charge(now=True)

    def clean_up(self) -> None:
        """Opens the units of workers that are known to be dead; a unit too deadly is failed."""
        for row in self.queue.owned():
            if row.owner is None or not is_dead(row.owner):
                continue
            trial_id = row.trial_id or self.trials.find(row.number)
            if row.attempts >= MAX_ATTEMPTS:
                reason = f"its worker died {row.attempts} times"
                if trial_id is not None:
                    self.trials.fail(trial_id, reason)
                self.queue.finish(row.unit_id, Outcome(FAILED, reason=reason))
                self.queue.stop_after_failures()
                continue
            if trial_id is not None:
                self.trials.wait(trial_id)
            self.queue.reopen(row.unit_id)

    def _refresh(self) -> None:
        snapshot = self.progress.snapshot()
        new = self.progress.finished(self._seen)
        if new:
            self._seen = new[-1].order
            self._early_deaths = 0
        self.stopped = snapshot.stopped
        self.display.update(snapshot, new)

    def _hire(self) -> None:
        idle_places = len(self.where) - len(self._workers)
        if not idle_places:
            return
        counts = self.queue.counts()
        # Workers that have just started have not claimed yet.
        starting = max(0, len(self._workers) - counts[RUNNING])
        for _ in range(min(idle_places, max(0, counts[OPEN] - starting))):
            taken = {worker.slot for worker in self._workers}
            slot = next(k for k in range(len(self.where)) if k not in taken)
            self._workers.append(self._start(slot))

    def _start(self, slot: int) -> _Worker:
        number, place = self._started, self.where[slot]
        self._started += 1
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"worker-{number}.log"
        environment = {
            **os.environ,
            **place.environment,
            # The URL may hold a password: not on the command line, where all can read it.
            "LRSEARCH_STORAGE": self.url,
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "lrsearch", "worker", self.name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        return _Worker(number, slot, place, process, log)

    def _bury(self, stopping: bool) -> None:
        """Takes away the workers that ended; opens what the dead ones held."""
        for worker in [w for w in self._workers if w.process.poll() is not None]:
            self._workers.remove(worker)
            code = worker.process.returncode
            self.clean_up()
            if code == 0:
                continue
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            if stopping:
                continue
            self._early_deaths += 1
            if self._early_deaths >= _EARLY_DEATHS or code == 2:
                raise WorkersFailed(
                    f"worker {worker.number} ({worker.place.name}) cannot work ({how}):\n"
                    f"{_tail(worker.log)}\n(the whole log: {worker.log})"
                )
            self.display.say(
                f"worker {worker.number} (process {worker.process.pid}, {worker.place.name}) died "
                f"({how}); another takes its place. Its log: {worker.log}"
            )

    def _tell_to_stop(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.terminate()

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                for child in _children(worker.process.pid):
                    child.kill()
                worker.process.kill()
            worker.process.wait()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Counts Ctrl-C (and SIGTERM) instead of dying of it."""

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


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-_LOG_TAIL:]) or "(its log is empty)"
