"""Whether more or less of a metric is better, where nobody says."""

from __future__ import annotations

import pytest

from lrsearch.config.border import RUNTIME, settings_from
from lrsearch.config.metric import mode_warning
from lrsearch.config.settings import Settings
from lrsearch.entry.compose import load_settings
from lrsearch.errors import ConfigErrors
from lrsearch.study.study import differences

OWN = "train.metrics={accuracy: accuracy, err: mae, f1: {_target_: operator.sub}}"


def settings(*overrides: str) -> Settings:
    return load_settings(["+sweep=digits", *overrides])


@pytest.mark.parametrize(
    ("name", "mode"),
    [("val_loss", "min"), ("train_loss", "min"), ("val_accuracy", "max"), ("val_err", "min")],
)
def test_the_mode_follows_from_the_metric_and_is_stored(name: str, mode: str) -> None:
    checked = settings(f"metric.name={name}", OWN)
    assert checked.metric.mode == mode
    assert checked.plain["metric"]["mode"] == mode


def test_of_a_loop_of_ones_own_the_name_says_it() -> None:
    loop = "objective={_target_: operator.sub}"
    assert settings(loop, "metric.name=accuracy").metric.mode == "max"
    with pytest.raises(ConfigErrors, match=r"give metric\.mode=min or metric\.mode=max"):
        settings(loop, "metric.name=reward")


def test_a_metric_of_ones_own_must_be_given_a_mode() -> None:
    with pytest.raises(ConfigErrors, match="the name val_f1 does not say"):
        settings(OWN, "metric.name=val_f1")
    assert settings(OWN, "metric.name=val_f1", "metric.mode=max").metric.mode == "max"


def test_a_mode_that_is_given_wins_and_is_doubted_where_it_contradicts_the_name() -> None:
    worst = settings("metric.name=val_accuracy", "metric.mode=min")
    assert worst.metric.mode == "min"
    assert "worst val_accuracy" in str(mode_warning(worst.metric, worst.train))
    fine = settings("metric.name=val_accuracy")
    assert mode_warning(fine.metric, fine.train) is None


def test_a_study_stored_with_a_mode_is_the_same_as_one_that_leaves_it_out() -> None:
    stored = settings("metric.mode=min").plain
    assert differences(stored, settings().plain) == []
    assert settings_from({**stored, **RUNTIME}).metric.mode == "min"
