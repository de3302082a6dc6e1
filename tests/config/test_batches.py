"""No batch is larger than the training part: a range is cut, anything else is refused."""

from __future__ import annotations

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.config.batches import cut_batches, fit_batches
from lrsearch.errors import ConfigErrors
from lrsearch.space.domains import IntRange, PowersOfTwo


@pytest.mark.parametrize(
    ("given", "domain"),
    [
        ("{low: 32, high: 4096}", PowersOfTwo(32, 1024)),
        ("{low: 32, high: 1024}", PowersOfTwo(32, 1024)),
        ("{low: 1, high: 4000, type: int}", IntRange(1, 1078)),
        ("{low: 100, high: 4000, step: 100, type: int}", IntRange(100, 1000, step=100)),
        ("{low: 1, high: 4000, log: true, type: int}", IntRange(1, 1078, log=True)),
    ],
)
def test_a_range_is_cut_to_the_samples_there_are(given: str, domain: object) -> None:
    checked = load_settings(["+sweep=digits", f"space.batch_size={given}"])
    fitted = fit_batches(checked, 1078, "digits")
    assert fitted.space.shared["batch_size"] == domain
    was_cut = fitted.plain != checked.plain
    assert len(fitted.notes) == was_cut
    # A study that was stored with the whole range goes on with the cut one.
    assert cut_batches(checked.plain, 1078) == fitted.plain
    assert fit_batches(fitted, 1078, "digits") is fitted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("100000", "100000 is larger than the 1,078 training samples of digits"),
        ("{value: 1079}", "1079 is larger"),
        ("[64, 2048, 4096]", "2048, 4096 is larger"),
        ("{low: 2048, high: 4096}", ".low: 2048 is larger"),
    ],
)
def test_what_is_fixed_or_chosen_above_them_is_refused(given: str, said: str) -> None:
    sweep = ["+sweep=digits", "~space.batch_size", f"+space.batch_size={given}"]
    if "low" in given:
        sweep = ["+sweep=digits", f"space.batch_size={given}"]
    with pytest.raises(ConfigErrors, match=r"space\.batch_size") as refused:
        fit_batches(load_settings(sweep), 1078, "digits")
    assert said in str(refused.value)


def test_a_setting_tried_first_must_be_in_the_range_that_is_left() -> None:
    given = ["space.batch_size={low: 32, high: 4096}", "study.try_first=[{batch_size: 4096}]"]
    settings = load_settings(["+sweep=digits", *given])
    with pytest.raises(ConfigErrors) as refused:
        fit_batches(settings, 1078, "digits")
    (problem,) = refused.value.problems
    assert problem.startswith("study.try_first[0]: batch_size: 4096 is not one of 32, 64,")
    assert "the range ends at 1024, not 4096: there are the 1,078 training samples" in problem
    assert fit_batches(settings, 5000, "digits") is settings


def test_where_the_data_are_tuned_their_number_may_differ() -> None:
    tuned = load_settings(["+sweep=linear", "space.data.n=[10, 1000]"])
    assert fit_batches(tuned, 10, "linear") is tuned
