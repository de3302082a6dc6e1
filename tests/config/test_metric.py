"""Whether more or less of a metric is better, where nobody says."""

from __future__ import annotations

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.config.load import stored_settings
from lrsearch.config.metric import mode_warning
from lrsearch.errors import ConfigErrors
from lrsearch.settings import Settings
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
    assert stored_settings(stored).metric.mode == "min"


# What a plateau watches

WATCHING = "space.scheduler.plateau.monitor"


def plateau_mode(checked: Settings) -> object:
    """The mode with which the space's plateau watches; as the name of its metric says, if None."""
    domain = checked.space.scheduler["plateau"].get("mode")
    return None if domain is None else domain.grid()


@pytest.mark.parametrize("name", ["val_loss", "val_accuracy", "train_loss"])
def test_of_the_catalogues_metrics_a_plateau_knows_what_is_better(name: str) -> None:
    assert plateau_mode(settings(f"+{WATCHING}={name}")) is None


def test_of_another_name_for_a_metric_of_the_catalogue_it_is_written_down() -> None:
    checked = settings(f"+{WATCHING}=val_err", OWN)
    assert plateau_mode(checked) == ["min"]
    assert checked.plain["space"]["scheduler"]["plateau"]["mode"] == "min"


def test_a_plateau_watches_the_metric_that_is_optimised_in_its_mode() -> None:
    f1 = [OWN, "metric.name=val_f1", "metric.mode=max"]
    assert plateau_mode(settings(*f1, f"+{WATCHING}=val_f1")) == ["max"]
    with pytest.raises(ConfigErrors, match="val_f1 does not say whether more of it is better"):
        settings(OWN, f"+{WATCHING}=val_f1")


@pytest.mark.parametrize("mode", ["min", "{choices: [min, max]}", "{value: min}"])
def test_a_mode_that_contradicts_the_watched_metric_is_refused(mode: str) -> None:
    with pytest.raises(ConfigErrors, match=r"min contradicts .*val_accuracy is to rise"):
        settings(f"+{WATCHING}=val_accuracy", f"+space.scheduler.plateau.mode={mode}")


@pytest.mark.parametrize("given", [[], ["+space.scheduler.plateau.mode=max"]])
@pytest.mark.parametrize("mode", ["maxx", "[max]"])
def test_a_wrong_mode_of_the_metric_is_one_problem_and_not_the_plateaus_too(
    mode: str, given: list[str]
) -> None:
    with pytest.raises(ConfigErrors) as caught:
        settings(OWN, "metric.name=val_f1", f"metric.mode={mode}", f"+{WATCHING}=val_f1", *given)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["metric.mode"]


def test_two_watched_metrics_of_opposite_modes_are_each_watched_in_their_own() -> None:
    both = f"+{WATCHING}={{choices: [val_loss, val_accuracy]}}"
    assert plateau_mode(settings(both)) is None
    with pytest.raises(ConfigErrors, match="have opposite modes"):
        settings(OWN, f"+{WATCHING}={{choices: [val_err, val_accuracy]}}")
