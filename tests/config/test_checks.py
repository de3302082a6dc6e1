"""What is looked at more closely where it is new."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.config.load import new_configuration, stored_settings
from lrsearch.errors import ConfigErrors
from lrsearch.launchers import LAUNCHERS
from lrsearch.settings import Settings


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    """A configuration as it is stored, with other values in some sections."""
    plain = load_settings(["+sweep=digits"]).plain
    return {**plain, **{key: {**plain[key], **new} for key, new in sections.items()}}


def as_new(stored: dict[str, Any]) -> Settings:
    """The settings of a new configuration that would be stored like this."""
    storage = {"url": "sqlite:///lrsearch.db"}
    runtime = {"storage": storage, "workers": 1, "output_dir": "outputs", "dry_run": False}
    return new_configuration({**stored, **runtime}, LAUNCHERS).settings


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"space": {"warmup": {"choices": [0, "20ep"]}}}, "space.warmup: 20ep is all of"),
        ({"space": {"warmup": "40ep"}, "train": {"epochs": 40}}, "warmup: 40ep is all of"),
        ({"space": {"warmup": "9st"}, "train": {"steps": 9}}, "warmup: 9st is all of"),
        ({"train": {"gpus": 1.5}}, "train.gpus: 1.5 is neither a whole number nor a share"),
        ({"train": {"gpus": 2, "device": "cuda:1"}}, "cuda:1 is one device, and a trial takes 2"),
        ({"train": {"gpus": 2, "micro_batch": "auto"}}, "micro_batch: auto is for trials on one"),
        ({"train": {"gpus": 64}, "space": {"batch_size": [32, 128]}}, "batch of 32 cannot be"),
        ({"coupling": {"reference": 0}}, "coupling.reference: 0 is below 1"),
    ],
)
def test_what_is_stored_stays_readable_though_nothing_new_may_have_it(
    sections: dict[str, Any], said: str
) -> None:
    config = changed(**sections)
    assert stored_settings(config).plain
    with pytest.raises(ConfigErrors, match=said):
        as_new(config)


@pytest.mark.parametrize(
    "sections",
    [
        {"space": {"warmup": "14ep"}},
        {"space": {"warmup": "40ep"}, "train": {"steps": 9}},  # in steps nobody knows yet
        {"space": {"warmup": "20ep", "scheduler": {"only": ["cosine"], "cosine": {"warmup": 0.1}}}},
        {"model": {"hidden": []}},
    ],
)
def test_what_a_training_can_do_is_taken(sections: dict[str, Any]) -> None:
    assert as_new(changed(**sections)).plain


def test_only_data_of_ones_own_are_named() -> None:
    with pytest.raises(ConfigErrors, match=r"data\.fingerprint: 'mine' is for streamed Datasets"):
        stored_settings(changed(data={"fingerprint": "mine"}))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ([1, True], "1 and true are equal"),
        ([1, 1.0], "1 and 1.0 are equal"),
        ([0, 2, False], "0 and false are equal"),
        ([[1, 2], [1.0, 2]], "[1, 2] and [1.0, 2] are equal"),
    ],
)
def test_choices_that_python_takes_for_one_are_refused(choices: list[Any], said: str) -> None:
    sections = {"space": {"data": {"size": {"choices": choices}}}}
    assert stored_settings(changed(**sections)).plain
    with pytest.raises(ConfigErrors, match=re.escape(f"space.data.size.choices: {said}")):
        as_new(changed(**sections))


def test_more_than_ten_thousand_choices_are_refused_everywhere() -> None:
    momentum = {"momentum": [k / 20_000 for k in range(10_001)]}
    config = changed(space={"optimizer": {"only": ["sgd"], "sgd": momentum}})
    with pytest.raises(ConfigErrors, match=r"optimizer.sgd.momentum.choices: 10,001 values are"):
        as_new(config)
    momentum["momentum"].pop()
    assert as_new(config).plain


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("amp", "bf16"),
        ("channels_last", True),
        ("checkpoint_every", 5),
        ("compile", True),
        ("early_stopping", 3),
        ("ema", 0.9),
        ("eval_every", "0.5ep"),
        ("evaluate", {"_target_": "operator.add"}),
        ("loss", "mse"),
        ("loss_step", {"_target_": "operator.add"}),
        ("metrics", ["accuracy"]),
        ("micro_batch", "auto"),
    ],
)
@pytest.mark.parametrize(
    "objective", [{"_target_": "operator.add"}, {"command": ["python", "train.py"]}]
)
def test_options_of_the_own_training_are_refused_where_another_one_trains(
    key: str, value: Any, objective: dict[str, Any]
) -> None:
    with pytest.raises(ConfigErrors) as errors:
        as_new({**changed(train={key: value}), "objective": objective})
    assert any(problem.startswith(f"train.{key}: it is for") for problem in errors.value.problems)
