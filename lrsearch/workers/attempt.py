"""One attempt at a trial or an auxiliary run: what both kinds of work have in common.

All that depends on a recipe or on the user's code runs within `Attempts.run_attempt`: what it
raises ends that attempt, never the worker.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from lrsearch.checkpoints.store import Checkpoints, Store
from lrsearch.errors import TrialPruned
from lrsearch.objectives.base import Objective, TrainingEnded
from lrsearch.objectives.silence import SHORTEST
from lrsearch.queue.auxiliary_runs import Values
from lrsearch.queue.endings import Ending
from lrsearch.queue.leasing import LeaseLost, Orders
from lrsearch.queue.queue import Queue
from lrsearch.settings import Settings
from lrsearch.states import Outcome
from lrsearch.storage.outages import (
    Contact,
    DatabaseRefuses,
    passes,
    persist,
    refusals_in_words,
)
from lrsearch.storage.sqlite import DatabaseReplaced
from lrsearch.storage.storable import storable_text
from lrsearch.text.formatting import duration
from lrsearch.training.loop import Diverged, OutOfMemory, Stopped
from lrsearch.training.memory import free_unused
from lrsearch.training.out_of_memory import (
    OomKills,
    out_of_memory_cause,
    said_of_memory,
    was_child_killed,
)
from lrsearch.workers.cards import NO_CARDS, PATIENCE, Cards
from lrsearch.workers.lease import Lease
from lrsearch.workers.reporter import NoFiniteValue
from lrsearch.workers.stall import StallWatch
from lrsearch.workers.stop import Stop
from lrsearch.workers.surroundings import surroundings_kept
from lrsearch.workers.work_log import WorkLog

T = TypeVar("T")
_SIGNALS_TOGETHER = 1.0
"""Seconds between signals that are sent to all processes of a group."""
_log = logging.getLogger(__name__)
_NO_ENDINGS = (LeaseLost, Stopped, DatabaseRefuses, DatabaseReplaced)
"""Exceptions that leave an attempt without ending its trial or auxiliary run."""


class Attempts:
    """Runs attempts at the work of one study, for one worker."""

    def __init__(
        self,
        settings: Settings,
        objective: Objective,
        queue: Queue,
        store: Store,
        contact: Contact,
        stop: Stop,
        surroundings: Callable[[], AbstractContextManager[None]] = surroundings_kept,
        cards: Cards = NO_CARDS,
    ) -> None:
        """Set up for the work of a study.

        `surroundings` is a context manager around each training, which by default restores the
        process-wide settings afterwards. `cards` are the GPUs that this worker shares with others.
        """
        self.cards = cards
        self.surroundings = surroundings
        self.settings, self.objective = settings, objective
        self.queue, self.store = queue, store
        self.contact, self.stop = contact, stop
        self._stall = self._stall_watch(lambda cause: None)

    @property
    def folder(self) -> str:
        """Folder of the study in the store; a later study of the same name has another."""
        return f"{self.settings.study.name}-{self.queue.study_id}"

    def lease(self, renew: Callable[[], Orders], died: Callable[[str], None]) -> Lease:
        """Return a lease that also counts the study's time, and stops the study at its limit.

        `renew` renews it once. `died(cause)` records that the training has ended this worker.
        """

        def tick() -> bool:
            return self.queue.stop_at_limit(self.settings.study.timeout)

        self._stall = self._stall_watch(died)
        return Lease(renew, self.contact, self.settings.queue.lease, self._stall, tick=tick)

    def _stall_watch(self, died: Callable[[str], None]) -> StallWatch:
        timeout = self.settings.queue.stall_timeout if self.stop.owns_process else math.inf
        if timeout is not None and self.settings.train.compile:
            timeout = max(timeout, SHORTEST)  # torch.compile can recompile at any batch
        return StallWatch(timeout, self.settings.objective is not None, died, self.stop.alive)

    def should_stop(self, lease: Lease) -> Callable[[], bool]:
        """Return a function, called after each step, that says whether to leave the training."""

        def must_stop() -> bool:
            lease.stall.progress()
            return self._is_told_to_stop(lease)

        return must_stop

    def _is_told_to_stop(self, lease: Lease) -> bool:
        return self.stop.is_set() or lease.lost or lease.hand_back

    def run_attempt(
        self, train: Callable[[], T], values: Values, lease: Lease
    ) -> tuple[Ending, T | None]:
        """Train; return the ending, with its value from `values`, and what `train` returned.

        Raises LeaseLost, Stopped, DatabaseRefuses and DatabaseReplaced, and KeyboardInterrupt where
        Ctrl-C raises it (`Stop.is_interruptible`). Any other exception ends the attempt.

        While the worker is told to stop, or its lease is lost, an exception that is none of
        lrsearch's is a way to leave the training, and is raised as Stopped: frameworks turn the
        signal into exceptions of their own. An error of the training itself comes again at the
        next attempt.

        A training that ran out of the memory of a GPU while other processes held some of it is
        repeated once, with no other worker of lrsearch on the GPU, before that is its ending.
        """

        def wait(seconds: float) -> None:
            with self._stall.waiting():
                told = self._is_told_to_stop(lease) or self.stop.wait(seconds)
            if told or self._is_told_to_stop(lease):
                raise Stopped("stopped while waiting for the GPU")

        with self.cards.shared(wait):
            said: list[str] = []
            ending, result = self._run_once(train, values, lease, said)
            memory = self.cards.neighbours("\n".join(said)) if said else None
        if memory is None:
            return ending, result
        why = f"it ran out of memory on a GPU of which {memory.in_words()}"
        _log.info("%s: waiting until no other worker trains there", why)
        free_unused()
        with self.cards.alone(wait) as is_alone:
            waited = f"after {duration(PATIENCE)} of waiting for the other workers there"
            how = "with no other worker of lrsearch there" if is_alone else waited
            why = f"{why}, and was trained again {how}"
            values.again(why)
            ending, result = self._run_once(train, values, lease, [])
        if ending.outcome == Outcome.OUT_OF_MEMORY:
            ending = dataclasses.replace(ending, reason=f"{ending.reason} (before, {why})")
        return ending, result

    def _run_once(
        self, train: Callable[[], T], values: Values, lease: Lease, said: list[str]
    ) -> tuple[Ending, T | None]:
        """Train; as `run_attempt`, without repeating it.

        The message about a lack of memory is added to `said`.
        """
        kills = OomKills()
        try:
            with self._stall.training(), self.surroundings():
                result = train()
            value = values.value()
        except TrialPruned:
            return Ending(Outcome.PRUNED, values.last), None
        except Diverged as error:
            return Ending(Outcome.DIVERGED, values.last, str(error), error.step, error.lr), None
        except OutOfMemory as error:
            said.append(error.said or str(error))
            return Ending(
                Outcome.OUT_OF_MEMORY, values.last, str(error), error.step, error.lr
            ), None
        except NoFiniteValue as error:
            # "Diverged" tells the samplers that it is worse than any trial with a value.
            return Ending(Outcome.DIVERGED, reason=str(error)), None
        except TrainingEnded as error:
            if error.outcome == Outcome.OUT_OF_MEMORY:
                said.append(str(error))
            return Ending(error.outcome, values.last, storable_text(str(error))), None
        except _NO_ENDINGS:
            raise
        except BaseException as error:
            if was_child_killed(error):
                # Who ends a whole process group may have reached the processes of the training
                # first, such as those of a DataLoader.
                self.stop.wait(_SIGNALS_TOGETHER)
            if self._is_told_to_stop(lease):
                message = f"left by {type(error).__qualname__} while told to stop"
                _log.info("the training was %s", message)
                raise Stopped(message) from error
            if isinstance(error, KeyboardInterrupt) and self.stop.is_interruptible:
                raise
            if memory := _memory_reason(error, kills):
                said += [said_of_memory(error), memory]
                return Ending(Outcome.OUT_OF_MEMORY, values.last, memory), None
            return Ending(Outcome.FAILED, reason=traceback_of(error)), None
        return Ending(Outcome.COMPLETE, value, values.remark), result

    def finish(self, outcome: Ending, write: Callable[[Ending], None]) -> Ending:
        """Write how an attempt ended; where that is refused, write instead that it failed.

        Returns the ending that was written. Raises LeaseLost, Stopped, DatabaseRefuses and
        DatabaseReplaced.
        """
        try:
            self.until_stopped(lambda: write(outcome))
        except _NO_ENDINGS:
            raise
        except Exception as error:  # noqa: BLE001 - drivers raise errors of their own
            refused = Ending(Outcome.FAILED, reason=traceback_of(error))
        else:
            return outcome
        self.until_stopped(lambda: write(refused))
        return refused

    def until_stopped(self, action: Callable[[], T]) -> T:
        """Run an action, and repeat it during an outage of the database.

        Raises DatabaseRefuses, and Stopped where the worker is stopped during the outage.
        """
        try:
            with self._stall.waiting(), refusals_in_words():
                return persist(action, self.stop.wait, lambda error: self.contact.failed())
        except Exception as error:
            if passes(error):
                raise Stopped("stopped while the database did not answer") from error
            raise


def _memory_reason(error: BaseException, kills: OomKills) -> str | None:
    """Return in one line how memory ran out; None for any other error.

    `kills` counts the kernel's kills since the training began.
    """
    cause = out_of_memory_cause(error)
    if cause is None and not (was_child_killed(error) and kills.new()):
        return None
    what = "" if cause else "the kernel killed a process of the training for want of memory: "
    return storable_text(f"out of memory: {what}{_first_line(cause or error)}")


def traceback_of(error: BaseException) -> str:
    """Return the traceback as text that can be stored and shown."""
    return storable_text(_formatted(traceback.format_exception, error))


def _first_line(error: BaseException) -> str:
    """Return the class of an error with the first line of its message."""
    return _formatted(traceback.format_exception_only, error).partition("\n")[0]


def _formatted(format_: Callable[[BaseException], list[str]], error: BaseException) -> str:
    try:
        return "".join(format_(error))
    except BaseException:  # noqa: BLE001 - an exception's own methods can raise anything
        return f"{type(error).__qualname__} (it cannot be formatted)"


def bring_to_end(
    log: WorkLog,
    lease: Lease,
    checkpoints: Checkpoints,
    work: Callable[[], None],
    give_back: Callable[[], None],
    is_over: Callable[[], bool],
) -> None:
    """Work under the lease, then delete the checkpoints.

    Hand the work back, with its checkpoints, when Stopped or KeyboardInterrupt is raised; leave it
    when the lease was lost. `is_over` reads from the database whether some worker has finished it.
    """
    with lease:
        try:
            work()
        except LeaseLost:
            lost = True
        except Stopped:
            lost = lease.lost or _hand_back(give_back, log)
            if not lost:
                return
        except KeyboardInterrupt:
            if not lease.lost:
                _hand_back(give_back, log)
            raise
        else:
            lost = False
    if lost:
        log.lost()
        # The worker that finishes it deletes its checkpoints. What this one wrote after that is
        # left over: delete it, but only once nobody can resume from it.
        if not _true_if_answered(is_over):
            return
    checkpoints.clear()


def _hand_back(give_back: Callable[[], None], log: WorkLog) -> bool:
    """Hand the work back without waiting for the database; return whether its lease was lost.

    During an outage nothing is written: the lease runs out by itself.
    """
    try:
        with refusals_in_words():
            give_back()
    except LeaseLost:
        return True
    except Exception as error:
        if not passes(error):
            raise
        log.left()
    else:
        log.handed_back()
    return False


def _true_if_answered(query: Callable[[], bool]) -> bool:
    """Return the result of a query; False while the database does not answer."""
    try:
        return query()
    except Exception as error:
        if not passes(error):
            raise
        return False


class FencedCheckpoints:
    """Checkpoints that are written only while the lease of their work is certainly valid."""

    def __init__(self, checkpoints: Checkpoints, lease: Lease) -> None:
        self._checkpoints, self._lease = checkpoints, lease
        self.folder = checkpoints.folder
        self.load = checkpoints.load
        self.clear = checkpoints.clear

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a checkpoint if the lease is certainly valid."""
        if self._lease.is_sure():
            with self._lease.stall.lengthy():
                self._checkpoints.save(state)
