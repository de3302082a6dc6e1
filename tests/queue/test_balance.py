"""With `study.balance=families` the scheduler families share the epochs, not the trials."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from told_sweep import ToldSweep, digits

from lrsearch.cli.compose import load_settings
from lrsearch.queue.balance import FamilyBalance
from lrsearch.queue.endings import Ending
from lrsearch.queue.trial_claims import TrialClaim, TrialClaims
from lrsearch.space.space import Space
from lrsearch.states import Outcome
from lrsearch.study.follow_up import follow_up

WHOLE = 5
FAMILIES = ["constant", "cosine", "linear"]
SETTINGS = ("train.epochs=5", "study.balance=families", "pruner=none",
            f"space.scheduler.only=[{','.join(FAMILIES)}]")  # fmt: skip


class Balanced(ToldSweep):
    """A told sweep whose units get their family when they are claimed."""

    def __init__(self, url: str, n_trials: int, *overrides: str) -> None:
        super().__init__(url, n_trials, *SETTINGS, *overrides)
        balance = FamilyBalance.of(self.settings)
        assert balance is not None
        self.balance = balance
        self.claims = TrialClaims(
            self.database.session,
            self.study_id,
            "far/1/1.00",
            follow_up,
            self.settings.queue,
            balance,
        )
        self.families: list[str] = []

    def take(self) -> TrialClaim:
        """A claimed unit, with a recipe of the family that was given."""
        claim = self.claims.claim(take_over=False)
        assert claim is not None
        family = str(claim.params["scheduler"])
        self.families.append(family)
        only = Space(
            self.settings.space.shared, self.settings.space.optimizer,
            {family: self.settings.space.scheduler[family]},
        )  # fmt: skip
        recipe = only.sample(random.Random(0))
        self.claims.started(claim, {}, recipe.to_dict(), "cpu", {})
        return claim

    def train(self, claim: TrialClaim, epochs: int) -> None:
        """As many epochs; fewer than the whole is pruned, none has diverged at once."""
        for number in range(1, epochs + 1):
            self.evaluate(claim, number, 1.0)
        outcome = (
            Outcome.COMPLETE if epochs == WHOLE else Outcome.PRUNED if epochs else Outcome.DIVERGED
        )
        self.claims.finish(claim, Ending(outcome, 1.0), 1.0)

    def spent(self) -> dict[str, float]:
        with self.database.session() as session:
            return self.balance.spent(session, self.study_id)


@pytest.fixture
def sweep(either_url: str) -> Iterator[Balanced]:
    sweep = Balanced(either_url, 40)
    yield sweep
    sweep.close()


def test_families_take_turns_in_the_order_of_the_space_while_their_trials_are_whole(
    sweep: Balanced,
) -> None:
    for _ in range(6):
        sweep.train(sweep.take(), WHOLE)
    assert sweep.families == FAMILIES * 2


def test_with_a_pruner_the_epochs_are_equal_within_one_trial_and_the_trials_are_not(
    sweep: Balanced,
) -> None:
    pruned_at = {"constant": 1, "cosine": WHOLE, "linear": 3}
    for _ in range(40):
        claim = sweep.take()
        sweep.train(claim, pruned_at[sweep.families[-1]])
    spent = sweep.spent()
    assert max(spent.values()) - min(spent.values()) <= WHOLE
    tries = Counter(sweep.families)
    assert tries["constant"] > 3 * tries["cosine"]


def test_trials_at_work_count_with_their_whole_length(sweep: Balanced) -> None:
    claims = [sweep.take() for _ in range(4)]
    assert sweep.families == [*FAMILIES, "constant"]
    assert sweep.spent() == {"constant": 2 * WHOLE, "cosine": WHOLE, "linear": WHOLE}
    sweep.train(claims[1], 1)
    assert sweep.spent()["cosine"] == 1
    sweep.take()
    assert sweep.families[-1] == "cosine"


def test_a_trial_that_is_handed_back_keeps_its_family(sweep: Balanced) -> None:
    claim = sweep.take()
    sweep.claims.give_back(claim)
    again = sweep.take()
    assert (again.number, sweep.families) == (claim.number, ["constant", "constant"])
    assert sweep.spent()["constant"] == WHOLE


def test_a_family_that_breaks_at_once_does_not_take_all_the_trials(sweep: Balanced) -> None:
    for _ in range(40):
        claim = sweep.take()
        sweep.train(claim, 0 if sweep.families[-1] == "linear" else WHOLE)
    assert Counter(sweep.families)["cosine"] >= 3


def test_what_is_tried_first_keeps_its_family_and_counts(url: str) -> None:
    sweep = Balanced(url, 6, "study.try_first=[{scheduler: linear}]")
    sweep.train(sweep.take(), WHOLE)
    sweep.train(sweep.take(), WHOLE)
    assert sweep.families == ["linear", "constant"]
    sweep.close()


def test_where_a_length_in_steps_is_what_all_have_in_common_steps_are_counted() -> None:
    steps = digits("study.balance=families", "train.steps=300")
    balance = FamilyBalance.of(steps)
    assert balance is not None
    assert (balance.whole, balance.unit) == (300.0, "step")


def test_there_is_nothing_to_balance_with_one_family_or_unasked() -> None:
    one = ["+sweep=digits", "study.balance=families", "space.scheduler.only=[cosine]"]
    assert FamilyBalance.of(load_settings(one)) is None
    assert FamilyBalance.of(digits()) is None
