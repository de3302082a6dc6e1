"""From the runs of a confirmation to its winner."""

from __future__ import annotations

import dataclasses

import pytest

from lrsearch.analysis.confirmed import Confirmed, headline, optimistic, progress_words
from lrsearch.analysis.sentences import say
from lrsearch.confirm.result import Confirmation, Over, Run, WinnerTest
from lrsearch.evaluation import SampleMeans

DATA = {"n_test": 100}


def confirmed_lines(confirmation: Confirmation, data: dict[str, int] | None) -> list[str]:
    return say(Confirmed(confirmation, data))


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
        assert headline(found).startswith("val_loss 0.0")
        plain = found.to_json()
        assert plain["mean"] == pytest.approx(sum(plain["values"].values()) / 2, rel=1e-12)
        assert sum(plain["interval"]) / 2 == pytest.approx(plain["mean"])
        assert "trial 8 with 0.11" in confirmed_lines(found, DATA)[0]
        assert "worse on the same seeds" in confirmed_lines(found, DATA)[0]
        assert found.candidates[1].estimate is not None
        assert found.candidates[1].estimate.behind == pytest.approx(0.02383)


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
        "Found in the search: 0.2 (optimistic: one of the best of 30); the best of the search, "
        "trial 7, had 0.18 (optimistic: the best of 30); luck in the lead of trial 7: 0.018 (in "
        "the search ahead of the mean of the others by 0.03, on fresh seeds ahead by 0.013)."
    ) in text
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


# What intervals are over


def with_samples(found: Confirmation, samples: dict[int, SampleMeans]) -> Confirmation:
    """The same with values on samples of the runs of each trial."""
    runs = [dataclasses.replace(run, samples=samples[run.trial]) for run in found.runs]
    return dataclasses.replace(found, runs=runs)


def around(value: float, spread: float, count: int = 88) -> SampleMeans:
    """Values on samples with this mean, alternately higher and lower."""
    return SampleMeans(count, tuple(value + spread * (-1) ** k for k in range(count)))


PAIR = confirmation({3: [0.22, 0.21, 0.23], 7: [0.30, 0.31, 0.29]}, {7: 0.18, 3: 0.20})


def test_without_values_on_samples_intervals_are_over_seeds_alone() -> None:
    assert PAIR.over == Over("validation", seeds=True, samples=False, count=None)
    assert PAIR.to_json()["interval_over"] == ["training seeds"]
    why = SampleMeans(88, unknown="val_f1 is not a mean over samples")
    told = with_samples(PAIR, {3: why, 7: why})
    assert told.over == Over("validation", True, False, 88, "val_f1 is not a mean over samples")


def test_where_they_are_known_intervals_are_over_seeds_and_samples() -> None:
    known = with_samples(PAIR, {3: around(0.22, 0.9), 7: around(0.30, 0.9)})
    assert known.over == Over("validation", seeds=True, samples=True, count=88)
    assert known.to_json()["interval_over"] == ["training seeds", "88 validation samples"]
    assert known.winner is not None
    assert known.winner.estimate is not None
    low, high = known.to_json()["interval"]
    # By hand: a mean of 88 samples of deviation 0.9 is off by 0.096.
    assert high - low > 2 * 1.96 * 0.096
    assert PAIR.winner is not None
    assert PAIR.winner.estimate is not None
    # The same samples are hard for both: that does not blur which one is better.
    assert known.winner.trial == PAIR.winner.trial == 3
    seeds_alone = PAIR.winner.estimate.probability
    assert known.winner.estimate.probability == pytest.approx(seeds_alone, abs=0.02)


def test_samples_that_favour_one_candidate_make_its_lead_less_sure() -> None:
    one = around(0.22, 0.9)
    other = dataclasses.replace(one, means=tuple(reversed(one.means)))
    unsure = with_samples(PAIR, {3: one, 7: other})
    assert unsure.winner is not None
    assert unsure.winner.estimate is not None
    assert unsure.winner.estimate.probability < 0.75


def test_runs_on_different_samples_are_not_compared_sample_by_sample() -> None:
    mixed = with_samples(PAIR, {3: around(0.22, 0.9), 7: around(0.30, 0.9, count=90)})
    assert not mixed.over.samples
    assert mixed.over.unknown == "the runs were not evaluated on the same samples"
    partly = with_samples(PAIR, {3: around(0.22, 0.9), 7: SampleMeans()})
    assert not partly.over.samples


def test_a_single_training_has_no_interval_over_seeds() -> None:
    once = confirmation({3: [0.22]}, {3: 0.20})
    assert not once.over.is_known
    assert once.to_json()["interval"] is None
    assert once.to_json()["interval_over"] == []
    sampled = with_samples(once, {3: around(0.22, 0.9)})
    assert sampled.to_json()["interval_over"] == ["88 validation samples"]
    low, high = sampled.to_json()["interval"]
    assert high - low == pytest.approx(2 * 1.99 * 0.0965, rel=0.05)


def test_the_score_on_the_test_part_is_a_mean_of_runs_with_an_interval() -> None:
    scores = [{"test_loss": 0.2, "test_f1": 0.5}, {"test_loss": 0.4, "test_f1": 0.5}]
    no_mean = SampleMeans(50, unknown="test_f1 is not a mean over samples")
    samples = [
        {"test_loss": around(score["test_loss"], 1.0, 50), "test_f1": no_mean} for score in scores
    ]
    test = WinnerTest(3, "done", "complete", None, scores, 1, samples)
    assert test.means == {"test_loss": pytest.approx(0.3), "test_f1": 0.5}
    loss = test.results["test_loss"]
    assert loss.over == Over("test", seeds=True, samples=True, count=50)
    assert loss.high - loss.low > 2 * 1.96 / 50**0.5
    assert test.results["test_f1"].over.samples is False
    plain = dataclasses.replace(LUCKY, test=test).to_json()["test"]
    assert {"runs": 2, "times_opened": 1}.items() <= plain.items()
    assert plain["intervals"]["test_loss"]["over"] == ["training seeds", "50 test samples"]
    assert plain["intervals"]["test_f1"]["over"] == ["training seeds"]


def test_one_run_on_the_test_part_has_an_interval_over_samples_alone() -> None:
    once = WinnerTest(3, "done", "complete", None, [{"test_loss": 0.2}], 1)
    assert not once.results["test_loss"].over.is_known
    sampled = dataclasses.replace(once, samples=[{"test_loss": around(0.2, 1.0, 50)}])
    score = sampled.results["test_loss"]
    assert score.over == Over("test", seeds=False, samples=True, count=50)
    assert score.high - score.low == pytest.approx(2 * 2.01 / 49**0.5, rel=0.05)


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


def test_intervals_end_at_zero_for_a_loss_of_the_catalogue() -> None:
    scores = [{"test_loss": 0.01}, {"test_loss": 0.2}]
    test = WinnerTest(3, "done", "complete", None, scores, 1)
    assert test.results["test_loss"].low < 0
    listed = dataclasses.replace(test, has_listed_loss=True)
    assert listed.results["test_loss"].low == 0
    runs = [Run(3, seed, "done", "complete", value) for seed, value in enumerate((0.01, 0.2))]
    own = Confirmation("val_loss", "min", {3: 0.1}, 5, runs, None)
    catalogue = dataclasses.replace(own, has_listed_loss=True)
    for confirmation, ends_at_zero in ((own, False), (catalogue, True)):
        (candidate,) = confirmation.candidates
        assert candidate.estimate is not None
        assert (candidate.estimate.low == 0) == ends_at_zero
        assert (candidate.estimate.low < 0) != ends_at_zero
