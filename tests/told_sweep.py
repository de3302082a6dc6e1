"""A sweep whose trials are told, not trained: whatever outcome a test wants, in milliseconds."""

from __future__ import annotations

import functools
import random
from typing import Any

from lrsearch.cli.compose import load_settings
from lrsearch.data.spec import DataInfo
from lrsearch.queue.endings import Ending
from lrsearch.queue.trial_claims import TrialClaim, TrialClaims
from lrsearch.settings import Settings
from lrsearch.states import Outcome
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.study.follow_up import follow_up
from lrsearch.study.study import open_study

INFO = DataInfo(
    name="digits", fingerprint="abc", input_shape=(1, 8, 8), n_classes=10, n_train=1078,
    n_validation=360, n_test=359, fallback_reason=None, wanted="digits", file=None,
)  # fmt: skip


@functools.cache
def digits(*overrides: str) -> Settings:
    """The settings of the small digits sweep with changes; composed once."""
    return load_settings(["+sweep=digits", *overrides])


class ToldSweep:
    """The study `digits` of `n_trials` units in a database."""

    def __init__(self, url: str, n_trials: int = 6, *overrides: str) -> None:
        self.url = url
        self.settings = digits(f"study.n_trials={n_trials}", *overrides)
        self.studies = Studies(url)
        self.database = Database(url, self.studies.engine)
        info = None if self.settings.objective is not None else INFO
        study = open_study(self.settings, info, self.database, self.studies)
        self.name, self.study_id, self.queue = study.name, study.study_id, study.queue
        self.claims = TrialClaims(
            self.database.session, study.study_id, "far-away/1/1.00", follow_up, self.settings.queue
        )
        self._random = random.Random(0)

    def begin(self) -> TrialClaim:
        """A running trial with a recipe, before its first evaluation."""
        claim = self.claims.claim(take_over=False)
        assert claim is not None, "all units are taken"
        recipe = self.settings.space.sample(self._random)
        columns = {"recipe": recipe.describe(), "scheduler": recipe.scheduler.name}
        self.claims.started(claim, {}, recipe.to_dict(), "cpu", columns)
        return claim

    def evaluate(self, claim: TrialClaim, number: int, value: float) -> None:
        """One more evaluation, the `number`th."""
        row: dict[str, Any] = {
            "trial_id": claim.trial_id, "study_id": self.study_id, "step": 10 * number,
            "evaluation": number, "epoch": float(number), "value": value,
            "train_loss": value / 2, "val_loss": value, "lr_start": 0.1 / number,
            "lr_end": 0.1 / (number + 1), "grad_norm": None, "seconds": 0.1, "metrics": {},
        }  # fmt: skip
        self.claims.record(claim, [row])

    def trial(
        self,
        value: float | None = 0.5,
        outcome: str = Outcome.COMPLETE,
        evaluations: int = 3,
        reason: str | None = None,
    ) -> TrialClaim:
        """A trial from beginning to end; its loss falls to `value`."""
        claim = self.begin()
        for number in range(1, evaluations + 1):
            self.evaluate(claim, number, (value or 1.0) + evaluations - number)
        self.claims.finish(claim, Ending(outcome, value, reason), 1.5)
        return claim

    def close(self) -> None:
        self.studies.close()
