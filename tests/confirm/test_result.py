"""From the runs of a confirmation to its winner."""

from __future__ import annotations

import dataclasses

import pytest

from lrsearch.analysis.confirmed import confirmed_lines, headline, optimistic, progress_words
from lrsearch.confirm.result import Confirmation, Run, WinnerTest

DATA = {"n_test": 100}


def confirmation(
    values: dict[int, list[float | str | None]], found: dict[int, float], **more: object
) -> Confirmation:
    """Trials with a value a seed; a word is how the run ended, None a run that is open."""
    runs = []
    for trial, listed in values.items():
        for seed, value in enumerate(listed):
            if isinstance(value, str):
                runs.append(Run(trial, seed, "done", value))
            elif value is None:
                runs.append(Run(trial, seed, "open"))
            else:
                runs.append(Run(trial, seed, "done", "complete", value))
    start = Confirmation("val_loss", "min", found, 30, runs, None)
    return dataclasses.replace(start, **more)  # type: ignore[arg-type]


LUCKY = confirmation(
    {7: [0.30, 0.31, 0.29], 3: [0.22, 0.21, 0.23], 5: [0.40, 0.41, "dropped"]},
    {7: 0.18, 3: 0.20, 5: 0.22},
)


def test_the_winner_is_the_best_on_fresh_seeds_not_in_the_search() -> None:
    assert LUCKY.winner is not None
    assert LUCKY.winner.trial == 3
    assert LUCKY.leader == 7
    assert [one.trial for one in LUCKY.candidates] == [3, 7, 5]
    assert [one.given_up for one in LUCKY.candidates] == [False, False, True]


def test_the_confirmed_value_is_the_mean_of_its_own_runs_whatever_others_have() -> None:
    pair = {2: [0.07214, 0.1002], 8: [0.10, 0.12]}
    few = confirmation({**pair}, {2: 0.06, 8: 0.07})
    more = confirmation({**pair, 9: [0.5, 0.9]}, {2: 0.06, 8: 0.07, 9: 0.08})
    for found in (few, more):
        assert headline(found).startswith("val_loss 0.08617 (95 % interval")
        plain = found.to_json()
        assert plain["mean"] == pytest.approx(sum(plain["values"].values()) / 2, rel=1e-12)
        assert sum(plain["interval"]) / 2 == pytest.approx(plain["mean"])
        assert "0.11 (95 % interval" in confirmed_lines(found, DATA)[0]
        assert "mean of 2 runs, 0.024 worse on the same seeds" in confirmed_lines(found, DATA)[0]


def test_worse_on_the_same_seeds_counts_only_those_that_both_have() -> None:
    later = LUCKY.candidates[2].estimate
    assert later is not None
    assert later.mean == pytest.approx(0.405)
    assert later.behind == pytest.approx((0.40 - 0.22 + 0.41 - 0.21) / 2)


def test_luck_is_what_is_gone_of_the_leaders_lead_over_the_others() -> None:
    means = {one.trial: one.estimate.mean for one in LUCKY.candidates if one.estimate}
    then = (0.20 + 0.22) / 2 - 0.18
    now = (means[3] + means[5]) / 2 - means[7]
    assert LUCKY.luck == pytest.approx(then - now)
    higher = Confirmation(
        "val_accuracy", "max",
        {trial: 1 - value for trial, value in LUCKY.search_values.items()}, 30,
        [dataclasses.replace(run, value=None if run.value is None else 1 - run.value)
         for run in LUCKY.runs], None,
    )  # fmt: skip
    assert higher.luck == pytest.approx(LUCKY.luck)
    assert higher.winner is not None
    assert higher.winner.trial == 3


def test_there_is_no_winner_while_runs_are_left() -> None:
    going_on = confirmation({1: [0.1, 0.1], 2: [0.2, None]}, {1: 0.1, 2: 0.1})
    assert going_on.winner is None
    assert going_on.work_left
    assert progress_words(going_on) == "confirming the best 2: 3 of 4 runs"
    dropped = confirmation({1: [0.1, 0.1, None], 2: [0.9, 0.9, "dropped"]}, {1: 0.1, 2: 0.1})
    assert progress_words(dropped) == "confirming the best 2: 4 of 5 runs"


def test_a_candidate_that_breaks_on_a_fresh_seed_cannot_win() -> None:
    broken = confirmation({1: [0.1, "diverged"], 2: [0.2, 0.3]}, {1: 0.1, 2: 0.2})
    assert broken.winner is not None
    assert broken.winner.trial == 2
    assert broken.hopeless == {1}
    assert broken.candidates[-1].broken == "1 diverged of 2"
    assert any("Trial 1 cannot be relied on" in line for line in confirmed_lines(broken, DATA))
    nobody = confirmation({1: ["diverged", "diverged"]}, {1: 0.1})
    assert nobody.winner is None
    assert not nobody.work_left


def test_the_clearly_worse_are_given_up_after_two_seeds() -> None:
    clear: dict[int, list[float | str | None]] = {1: [0.1, 0.11], 2: [0.9, 0.92], 3: [0.1, 0.12]}
    found = dict.fromkeys(clear, 0.1)
    assert confirmation(clear, found).hopeless == {2}
    assert dataclasses.replace(confirmation(clear, found), mode="max").hopeless == {1, 3}
    once: dict[int, list[float | str | None]] = {1: [0.1], 2: [0.9], 3: [0.1]}
    assert confirmation(once, found).hopeless == set()


def test_it_says_in_words_what_is_confirmed_what_was_luck_and_who_was_given_up() -> None:
    assert "on fresh seeds, mean of 3 runs" in headline(LUCKY)
    assert "95 % interval" in headline(LUCKY)
    text = " ".join(confirmed_lines(LUCKY, DATA))
    assert "the best of 3 candidates with probability" in text
    assert (
        "Found in the search: 0.2 (optimistic: one of the best of 30); its best, trial 7, had 0.18 "
        "(optimistic: the best of 30); luck in its lead: 0.018 (in the search ahead of the mean of "
        "the others by 0.03, on fresh seeds ahead by 0.013)." in text
    )
    assert "Trial 5 was clearly worse" in text
    assert "not there yet" in text


def test_the_value_of_the_search_is_called_optimistic_only_where_fresh_seeds_are_worse() -> None:
    lucky = confirmation({1: [0.20, 0.21], 2: [0.30, 0.31]}, {1: 0.10, 2: 0.29})
    assert optimistic(lucky).startswith("found in the search: 0.1 (optimistic: the best of 30)")
    assert "in the search ahead of the other candidate by 0.19" in optimistic(lucky)
    grown = confirmation({1: [0.20, 0.21], 2: [0.60, 0.61]}, {1: 0.10, 2: 0.11})
    assert "luck in its lead: none (in the search ahead" in optimistic(grown)
    turned = confirmation({1: [0.30, 0.31], 2: [0.20, 0.21]}, {1: 0.10, 2: 0.11})
    assert "on fresh seeds behind by" in optimistic(turned)
    held = confirmation({1: [0.08, 0.11], 2: [0.30, 0.31]}, {1: 0.10, 2: 0.29})
    assert "0.1 (it held: fresh seeds were no worse)" in optimistic(held)
    assert "optimistic" not in optimistic(held)
    higher = dataclasses.replace(confirmation({1: [0.92, 0.93]}, {1: 0.91}), mode="max", tried=1)
    assert "it held" in optimistic(higher)
    only = confirmation({1: [0.20, 0.30]}, {1: 0.10}, tried=1)
    assert optimistic(only) == "found in the search: 0.1 (fresh seeds were worse by 0.15)"


def test_the_test_score_is_told_with_how_often_the_test_part_was_opened() -> None:
    test = WinnerTest(3, "done", "complete", None, [{"test_loss": 0.2}, {"test_loss": 0.4}], 1)
    once = dataclasses.replace(LUCKY, test=test)
    assert (
        "test_loss 0.3, mean of 2 runs; the test part was opened once"
        in confirmed_lines(once, DATA)[-1]
    )
    twice = dataclasses.replace(LUCKY, test=dataclasses.replace(test, opened=2))
    assert "opened 2 times" in confirmed_lines(twice, DATA)[-1]
    assert once.to_json()["test"] == {"test_loss": pytest.approx(0.3), "runs": 2, "times_opened": 1}


@pytest.mark.parametrize(
    ("data", "test", "why"),
    [
        (None, None, "does not know the test data of your own objective"),
        ({"n_test": 0}, None, "have no test part"),
        (DATA, WinnerTest(3, "done", "failed", "Trace\nUserError: gone", [], 1), "gone"),
    ],
)
def test_where_there_is_no_test_score_it_says_why(
    data: dict[str, int] | None, test: WinnerTest | None, why: str
) -> None:
    found = dataclasses.replace(LUCKY, test=test)
    assert why in confirmed_lines(found, data)[-1]
    assert "test" not in found.to_json()
