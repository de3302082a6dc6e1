"""A new study begins with the best of an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from told_sweep import INFO, digits

from lrsearch.errors import UserError
from lrsearch.queue.endings import Ending
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.settings import QueueSettings
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.tables import TrialSlotRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.study import OpenStudy, load_row, open_study

Open = Callable[..., OpenStudy]


@pytest.fixture
def open_with(url: str, database: Database, studies: Studies) -> Open:
    def run(*overrides: str) -> OpenStudy:
        return open_study(digits(*overrides), INFO, database, studies)

    return run


@pytest.fixture
def earlier(open_with: Open, database: Database, url: str) -> OpenStudy:
    """A study `digits` of eight trials: SGD's rates 0.01 to 0.08, the larger the better."""
    given = [{"lr": 0.01 * k, "optimizer": "sgd", "scheduler": "constant"} for k in range(1, 9)]
    first = ",".join(
        "{" + ",".join(f"{key}: {value}" for key, value in one.items()) + "}" for one in given
    )
    study = open_with("study.n_trials=8", f"study.try_first=[{first}]")
    claims = TrialClaims(
        database.session, study.study_id, "here/1/1.00", follow_up, QueueSettings()
    )
    space = digits().space
    for k, one in enumerate(given, 1):
        claim = claims.claim(take_over=False)
        assert claim is not None
        recipe = space.recipe(lambda name, domain, w=one: w.get(name, domain.ends()[0]))
        claims.started(claim, {}, recipe.to_dict(), "cpu", {})
        claims.finish(claim, Ending("complete", 1.0 - 0.1 * k), 1.0)
    return study


def units(database: Database, study: OpenStudy) -> list[Mapping[str, Any]]:
    with database.session() as session:
        rows = (
            session.query(TrialSlotRow)
            .filter_by(study_id=study.study_id)
            .order_by(TrialSlotRow.number)
        )
        return [row.params for row in rows]


def test_the_best_five_are_tried_first_within_the_budget(
    open_with: Open, earlier: OpenStudy, database: Database
) -> None:
    study = open_with("study.name=next", "study.warm_start=digits")
    assert study.total == 20
    assert study.notes == ("tried first: trials 7, 6, 5, 4, 3 of digits",)
    tried = units(database, study)
    assert [one["lr"] for one in tried[:5]] == pytest.approx([0.08, 0.07, 0.06, 0.05, 0.04])
    assert tried[5:] == [{}] * 15
    record = load_row(database, "next").record["warm_start"]
    assert (record["study"], record["trials"]) == ("digits", [7, 6, 5, 4, 3])


def test_what_does_not_fit_is_skipped_and_named(
    open_with: Open, earlier: OpenStudy, database: Database
) -> None:
    study = open_with(
        "study.name=next", "study.warm_start=digits", "study.warm_start_trials=3",
        "space.lr.high=0.065",
    )  # fmt: skip
    assert study.notes[0] == "tried first: trials 5, 4, 3 of digits"
    assert [note.partition(":")[0] for note in study.notes[1:]] == [
        "trial 7 of digits does not fit",
        "trial 6 of digits does not fit",
    ]
    assert "lr: 0.08 is outside 0.001 to 0.065" in study.notes[1]


def test_a_resume_neither_repeats_nor_refuses_it(
    open_with: Open, earlier: OpenStudy, database: Database
) -> None:
    first = open_with("study.name=next", "study.warm_start=digits", "study.n_trials=4")
    again = open_with("study.name=next", "study.warm_start=digits", "study.n_trials=4")
    assert (again.resumed, again.notes, again.total) == (True, (), 4)
    longer = open_with("study.name=next", "study.n_trials=7")
    assert longer.notes == ("extended from 4 to 7 trials",)
    tried = units(database, first)
    assert [one.get("lr") for one in tried[:5]] == pytest.approx([0.08, 0.07, 0.06, 0.05, 0.04])
    assert tried[5:] == [{}, {}]


def test_try_first_goes_before_it(open_with: Open, earlier: OpenStudy, database: Database) -> None:
    study = open_with(
        "study.name=next", "study.warm_start=digits", "study.try_first=[{scheduler: step}]"
    )
    tried = units(database, study)
    assert tried[0] == {"scheduler": "step"}
    assert tried[1]["lr"] == pytest.approx(0.08)


def test_an_earlier_study_must_be_there_and_have_something_to_give(
    open_with: Open, earlier: OpenStudy
) -> None:
    with pytest.raises(
        UserError, match=r"no study 'digist' in .*; did you mean digits\? \(there: digits\)"
    ):
        open_with("study.name=next", "study.warm_start=digist")
    open_with("study.name=empty")
    with pytest.raises(UserError, match="no trial of empty has completed"):
        open_with("study.name=next", "study.warm_start=empty")
