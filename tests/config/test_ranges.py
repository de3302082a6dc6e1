"""`auto` for a learning rate: where it may stand, and what takes its place."""

from __future__ import annotations

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.config.load import stored_settings
from lrsearch.config.ranges import with_ranges
from lrsearch.errors import ConfigErrors
from lrsearch.space.domains import Auto, FloatRange

RANGE = {"low": 1e-3, "high": 0.5, "log": True}
OTHER = {"low": 1e-5, "high": 0.02, "log": True}


def to_find(*overrides: str) -> dict[str, str]:
    return load_settings(["+sweep=digits", *overrides]).space.to_find


def test_a_rate_is_to_be_found_for_the_optimizers_that_use_it() -> None:
    assert to_find() == {}
    assert to_find("space.lr=auto") == {"lr": "sgd"}
    assert to_find("space.optimizer.adamw.lr=auto") == {"adamw.lr": "adamw"}
    assert to_find("space.lr=auto", "space.optimizer.adamw.lr=auto") == {
        "lr": "sgd", "adamw.lr": "adamw",
    }  # fmt: skip


def test_optimizers_that_share_it_get_a_range_each() -> None:
    several = ("space.lr=auto", "space.optimizer.only=[sgd,rmsprop]")
    assert to_find(*several) == {"sgd.lr": "sgd", "rmsprop.lr": "rmsprop"}
    settings = load_settings(["+sweep=digits", *several])
    assert "lr" not in settings.space.shared
    filled = with_ranges(settings, {"sgd.lr": RANGE, "rmsprop.lr": OTHER})
    assert filled.space.to_find == {}
    assert filled.space.optimizer["rmsprop"]["lr"] == FloatRange(1e-5, 0.02, log=True)
    again = stored_settings(filled.plain)
    assert again.space == filled.space


def test_what_is_found_takes_its_place_in_the_space_and_in_what_is_stored() -> None:
    settings = load_settings(["+sweep=digits", "space.lr=auto", "train.epochs=3"])
    filled = with_ranges(settings, {"lr": RANGE})
    assert filled.space.shared["lr"] == FloatRange(1e-3, 0.5, log=True)
    assert filled.plain["space"]["lr"] == RANGE
    assert filled.train == settings.train
    assert settings.plain["space"]["lr"] == "auto"
    assert with_ranges(filled, {"lr": OTHER}) is filled


def test_without_auto_nothing_changes() -> None:
    settings = load_settings(["+sweep=digits"])
    assert with_ranges(settings, {"lr": RANGE}) is settings


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("space.momentum=auto",), "space.momentum: 'auto' is not a number"),
        (("space.scheduler.cosine.lr=auto",), "space.scheduler.cosine.lr: 'auto' is not a number"),
        (("space.lr=Auto",), "space.lr: 'Auto' is not a number"),
        (("space.lr=auto", "sampler=grid"), "give a range, or `choices`"),
        (("space.lr=auto", "study.try_first=[{lr: -1}]"), "lr: -1 is not a number above 0"),
        (
            ("space.lr=auto", "objective={_target_: mine.train}"),
            "space (lr): `auto` takes a range test, for which lrsearch trains by itself",
        ),
        (
            ("space.lr=auto", "space.optimizer.only=[adamw]"),
            "space.lr: auto finds nothing: adamw has a rate of its own; "
            "write space.optimizer.adamw.lr=auto",
        ),
    ],
)
def test_where_it_cannot_be_found_it_is_refused(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        load_settings(["+sweep=digits", *overrides])
    assert said in str(refused.value)


def test_a_shared_rate_may_be_nobodys_where_another_is_found() -> None:
    found = to_find(
        "space.lr=auto", "space.optimizer.adamw.lr=auto", "space.optimizer.only=[adamw]"
    )
    assert found == {"adamw.lr": "adamw"}


def test_a_rate_that_is_tried_first_need_not_wait_for_the_range() -> None:
    settings = load_settings(["+sweep=digits", "space.lr=auto", "study.try_first=[{lr: 2.0}]"])
    assert isinstance(settings.space.shared["lr"], Auto)
    assert settings.space.parameters_for({"lr": 2.0})[0]["lr"] == 2.0
