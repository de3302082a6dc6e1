"""A worker at a study's range test: the side run that every trial waits for."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from lrsearch.config.settings import Settings
from lrsearch.errors import UserError
from lrsearch.objective import Objective, TrainingObjective
from lrsearch.range_test.plan import plan_ramps
from lrsearch.range_test.ramp import run_ramps
from lrsearch.range_test.result import RangeTest
from lrsearch.study.endings import Outcome
from lrsearch.study.leasing import LeaseLost, Orders
from lrsearch.study.outages import Contact, passes, persist
from lrsearch.study.queue import Queue
from lrsearch.study.ranges import failure, keep_ranges
from lrsearch.study.side_runs import SideClaim, SideClaims
from lrsearch.study.tables import COMPLETE, FAILED, RANGE_TEST
from lrsearch.training.loop import Stopped
from lrsearch.workers.lease import Lease
from lrsearch.workers.stop import Stop


class RangeFinder:
    """Runs the range test of one study, unless another worker does."""

    def __init__(
        self,
        settings: Settings,
        objective: Objective,
        claims: SideClaims,
        queue: Queue,
        contact: Contact,
        stop: Stop,
    ) -> None:
        assert isinstance(objective, TrainingObjective), "the border refuses `auto` for others"
        self.settings, self.objective, self.claims = settings, objective, claims
        self.queue, self.contact, self.stop = queue, contact, stop

    def work(self) -> bool:
        """Brings the range test to its end; false where another worker has it.

        A study whose range test has failed is stopped.
        """
        claim = self.claims.claim(self.contact.lasted(self.claims.terms.lease), RANGE_TEST)
        if claim is not None:
            self._run(claim)
        with self.claims.session() as session:
            reason = failure(session, self.claims.study_id)
        if reason is not None:
            self.queue.stop(f"{reason}\nto try it again: resume --retry-failed", hand_back=True)
        return claim is not None

    def _run(self, claim: SideClaim) -> None:
        started = time.perf_counter()
        terms = self.settings.queue
        lease = Lease(partial(self._beat, claim), self.contact, terms.lease, terms.stall_timeout)

        def should_stop() -> bool:
            lease.progress()
            return self.stop.is_set() or lease.lost or lease.hand_back

        with lease:
            try:
                self._until_stopped(partial(self.claims.started, claim, self.objective.device_name))
                test, outcome = self._test(should_stop, started)
                self._until_stopped(partial(self._finish, claim, test, outcome, started))
            except LeaseLost:
                return
            except Stopped:
                if not lease.lost:
                    self._give_back(claim)

    def _beat(self, claim: SideClaim) -> Orders:
        orders = self.claims.renew(claim)
        timeout = self.settings.study.timeout
        if self.queue.tick() >= (timeout or float("inf")):
            self.queue.stop(f"study.timeout={timeout:g} s is up", hand_back=True)
            return Orders(hand_back=True)
        return orders

    def _test(
        self, should_stop: Callable[[], bool], started: float
    ) -> tuple[RangeTest | None, Outcome]:
        """The range test, or why there is none. Raises Stopped."""
        try:
            test = self._ramps(should_stop, started)
        except (Stopped, SQLAlchemyError):
            raise
        except UserError as error:
            return None, Outcome(FAILED, reason=str(error))
        except (Exception, SystemExit):  # noqa: BLE001 - the user's code can raise anything
            return None, Outcome(FAILED, reason=traceback.format_exc())
        return test, Outcome(COMPLETE)

    def _ramps(self, should_stop: Callable[[], bool], started: float) -> RangeTest:
        """Raises UserError where it says nothing about one of the ranges."""
        assert isinstance(self.objective, TrainingObjective)
        to_find = self.settings.space.to_find
        plan = plan_ramps(self.settings, self.objective.n_train, list(to_find.values()))
        ramps = tuple(run_ramps(self.objective, plan, should_stop))
        seconds = time.perf_counter() - started
        coupling = self.settings.space.coupling
        test = RangeTest(ramps, plan.trial_samples, seconds, coupling, {})
        found = {name: test.suggested(optimizer) for name, optimizer in to_find.items()}
        if silent := [to_find[name] for name, one in found.items() if one is None]:
            raise UserError(
                f"the loss of {', '.join(silent)} falls at no learning rate within a ramp: give "
                f"a range instead of `auto`, such as {{low: 1e-4, high: 1.0, log: true}}"
            )
        ranges = {name: one.to_dict() for name, one in found.items() if one is not None}
        return RangeTest(ramps, plan.trial_samples, seconds, coupling, ranges)

    def _finish(
        self, claim: SideClaim, test: RangeTest | None, outcome: Outcome, started: float
    ) -> None:
        if self.claims.is_finished(claim):
            return  # it was taken, but the answer was lost
        study_id = self.claims.study_id
        kept = {} if test is None else test.to_json()
        self.claims.finish(
            claim,
            outcome,
            {"ranges": kept.get("ranges", {})},
            time.perf_counter() - started,
            lambda session: keep_ranges(session, study_id, kept) if kept else None,
        )

    def _until_stopped(self, action: Callable[[], None]) -> None:
        """Repeats what an outage prevents. Raises Stopped when told to stop meanwhile."""
        try:
            persist(action, self.stop.wait, lambda error: self.contact.failed())
        except Exception as error:
            if passes(error):
                raise Stopped("stopped while the database did not answer") from error
            raise

    def _give_back(self, claim: SideClaim) -> None:
        """Hands it back at once; if the database does not answer, its lease runs out."""
        try:
            self.claims.give_back(claim)
        except LeaseLost:
            return
        except Exception as error:
            if not passes(error):
                raise
