"""Start the workers of a sweep as processes of this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

from lrsearch.errors import UserError
from lrsearch.files import new_file
from lrsearch.launchers.base import Job, JobState, News, Sweep, WorkersFailed
from lrsearch.launchers.command_line import worker_arguments, worker_environment
from lrsearch.launchers.early_deaths import EarlyDeaths, tail
from lrsearch.launchers.worker_process import WorkerProcess
from lrsearch.queue.owners import is_dead, process_name
from lrsearch.settings import RuntimeSettings, Settings
from lrsearch.training.drivers import promised_gpus
from lrsearch.training.out_of_memory import OomKills
from lrsearch.workers.abilities import check_needs
from lrsearch.workers.device_slots import DeviceSlot, device_slots, in_words
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.process_tree import kill_group

_LONGEST_KILL = 10.0
"""Seconds within which a process that the kernel has killed for want of memory is gone."""
_NO_MEMORY = (
    "the memory of its control group ran out, and the kernel killed it (smaller batches, fewer "
    "workers or more memory help)"
)


def check_device(device: str) -> None:
    """Raise UserError where this machine lacks the device that trials are to train on."""
    # Without a sign of a GPU torch, whose import takes seconds, need not be asked for these.
    if device not in ("auto", "cpu") or (device == "auto" and promised_gpus()):
        from lrsearch.training.devices import resolve_device

        resolve_device(device)


class Local:
    """Runs one worker for each GPU, share of one or core, and replaces those that die."""

    name: ClassVar[str] = "local"
    outlives: ClassVar[bool] = False

    def __init__(self, per_gpu: int = 1) -> None:
        """`per_gpu` is the number of workers that share each GPU."""
        self.per_gpu = per_gpu
        self.slots: list[DeviceSlot] = []
        self._gpus = 1.0
        self._workers: list[WorkerProcess] = []
        self._started = 0
        self._early_deaths = EarlyDeaths()
        self._kills = OomKills()
        self._killed_at: list[float] = []
        """Times at which the kernel's kills were seen that are no worker's yet."""
        self._is_stopping = False

    def check(self, settings: Settings, runtime: RuntimeSettings) -> None:
        """Find the slots of the workers. Raises UserError."""
        check_device(settings.train.device)
        check_needs(settings)
        train, self._gpus = settings.train, settings.train.gpus
        if self.per_gpu > 1:
            if train.gpus != 1:
                raise UserError(
                    f"launcher.per_gpu: {self.per_gpu}, and train.gpus is {train.gpus:g}: leave "
                    f"one of them out"
                )
            self._gpus = 1 / self.per_gpu
        self.slots = device_slots(runtime.workers, train.device, train.threads, self._gpus)

    def attach(self, sweep: Sweep) -> None:
        """Set the sweep that it serves."""
        self.sweep = sweep

    def describe(self) -> str:
        """Return the number of workers, and what a trial takes."""
        return in_words(self.slots, self._gpus)

    def most(self) -> int:
        """Return the number of slots."""
        return len(self.slots)

    def start(self, count: int) -> None:
        """Start a worker in each of `count` free slots."""
        for _ in range(count):
            taken = {worker.slot_index for worker in self._workers}
            free = next(k for k in range(len(self.slots)) if k not in taken)
            self._workers.append(self._start(free))

    def alive(self) -> Sequence[Job]:
        """Return the worker processes that have not ended."""
        return [
            Job(
                job_id=str(worker.process.pid),
                state=JobState.RUNNING,
                host=worker.slot.name,
                log=str(worker.log),
                owner=process_name(worker.process.pid),
                is_starting=not worker.heartbeat.is_heard,
            )
            for worker in self._workers
        ]

    def watch(self, news: News) -> None:
        """Kill workers without a heartbeat; remove those that have ended, and say why."""
        self._is_stopping = news.is_stopping
        if news.ended_well:
            self._early_deaths.ended_well()
        self._count_kills()
        for worker in self._workers:
            worker.kill_if_silent()
        self._remove_ended()

    def stop(self, jobs: Sequence[Job], at_once: bool = False) -> None:
        """Send SIGTERM to each worker once; `at_once`, kill them and wait for their end."""
        self._is_stopping = True
        chosen = {job.job_id for job in jobs}
        for worker in (w for w in self._workers if str(w.process.pid) in chosen):
            if at_once:
                worker.kill()
            else:
                worker.terminate()

    def close(self) -> None:
        """Close the pipes of the workers that are left."""
        for worker in self._workers:
            worker.heartbeat.close()
        self._workers = []

    def _start(self, slot_index: int) -> WorkerProcess:
        number, slot = self._started, self.slots[slot_index]
        self._started += 1
        log = self.sweep.logs / f"worker-{number}.log"
        words, environment = worker_arguments(self.sweep), worker_environment(self.sweep)
        with self._log_file(log) as output:
            return WorkerProcess.start(number, slot_index, slot, words, environment, log, output)

    def _log_file(self, log: Path) -> BinaryIO:
        """Create the log file of a worker; where that fails, its output is discarded."""
        try:
            return new_file(log)
        except OSError as error:
            self.sweep.say_once(
                f"cannot write to {self.sweep.logs}: {error.strerror}; the workers go on without "
                f"logs"
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
            if code in (ExitCode.DONE, ExitCode.HANDED_BACK):
                continue
            kill_group(worker.process.pid)  # the processes that it had started
            if self._is_stopping:
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
            given_up = self._early_deaths.add(work, worker.number)
            if given_up or code in (ExitCode.BAD_INPUT, ExitCode.REFUSED):
                raise WorkersFailed(
                    f"worker {worker.number} ({worker.slot.name}) cannot work ({how}):\n"
                    f"{tail(worker.log)}\n(the whole log: {worker.log})"
                )
            self._say_replaced(worker, f"died ({how})")

    def _say_replaced(self, worker: WorkerProcess, what: str) -> None:
        self.sweep.say(
            f"worker {worker.number} (process {worker.process.pid}, {worker.slot.name}) {what}; "
            f"another takes its place. Its log: {worker.log}"
        )

    def _reclaim_work(self, worker: WorkerProcess, out_of_memory: bool) -> set[tuple[str, int]]:
        """Reclaim what a worker that has ended was working on, and return it."""
        name = f"{process_name(worker.process.pid)}/"
        return self.sweep.reclaim_dead(
            lambda owner: owner.startswith(name) and is_dead(owner),
            blame=not self._is_stopping,
            cause=f"out of memory: {_NO_MEMORY}" if out_of_memory else worker.stalled,
            out_of_memory=out_of_memory,
        )

    def _count_kills(self) -> None:
        now = time.monotonic()
        self._killed_at = [at for at in self._killed_at if now - at < _LONGEST_KILL]
        self._killed_at += [now] * self._kills.new()

    def _ran_out_of_memory(self, worker: WorkerProcess) -> bool:
        """Return whether the kernel killed a worker for want of memory; each kill is one worker's.

        Any other SIGKILL, such as one of the launcher's own, is none.
        """
        if worker.process.returncode != -signal.SIGKILL or worker.stalled or self._is_stopping:
            return False
        self._count_kills()
        if not self._killed_at:
            return False
        self._killed_at.pop()
        return True
