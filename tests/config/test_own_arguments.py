"""Whose an argument is that stands beside `_target_`: the user's function's, or lrsearch's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.cli.own_code_calls import own_code_calls
from lrsearch.config.load import stored_settings
from lrsearch.errors import ConfigErrors
from lrsearch.settings import Settings

MODULE = """
import functools

def load(n=8, name="easy", validation=0.1, root="/here", cache="none"):
    pass

def plain(n=8):
    pass

def crops(n=8, crop="center", *, flip=0.5):
    pass

def anything(n=8, **more):
    pass

def by_position(n, /):
    pass

def arguments(arguments=1):
    pass

def trains(trial, n=3):
    pass

def strict(trial, strict_lr="mine"):
    pass

class Loader:
    def __init__(self, name="easy"):
        pass

half = functools.partial(load, n=4)
unreadable = dict

class Net:
    def __init__(self, name="small", width=4):
        pass

class Hidden:
    def __init__(self, hidden=()):
        pass

class Open:
    def __init__(self, **more):
        pass
"""


@pytest.fixture(autouse=True)
def mine(own_folder: Path) -> Iterator[None]:
    """The user's module."""
    (own_folder / "mine_arguments.py").write_text(MODULE)
    sys.modules.pop("mine_arguments", None)
    yield
    sys.modules.pop("mine_arguments", None)


def settings(target: str, *overrides: str, section: str = "data") -> Settings:
    target = f"{section}._target_=mine_arguments.{target}"
    return load_settings(["+sweep=digits", target, *overrides])


def problems(target: str, *overrides: str, section: str = "data") -> str:
    with pytest.raises(ConfigErrors) as caught:
        settings(target, *overrides, section=section)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("target", "overrides", "arguments", "ours"),
    [
        (
            "load",
            ["data.name=hard", "data.validation=0.5", "data.root=/elsewhere", "data.n=3"],
            {"name": "hard", "validation": 0.5, "root": "/elsewhere", "n": 3},
            {"crop": 0, "in_memory": "auto"},
        ),
        ("load", ["data.crop=2", "data.in_memory=never"], {}, {"crop": 2, "in_memory": "never"}),
        ("load", [], {}, {"validation": None}),
        ("load", ["data.cache=mine"], {"cache": "mine"}, {}),
        ("crops", ["data.crop=6", "data.flip=0.25"], {"crop": 6, "flip": 0.25}, {"crop": 0}),
        ("Loader", ["data.name=hard"], {"name": "hard"}, {}),
        ("half", ["data.name=hard"], {"name": "hard"}, {}),
        ("arguments", ["data.arguments=2"], {"arguments": 2}, {}),
        ("anything", ["data.colour=red"], {"colour": "red"}, {}),
        ("anything", ["+data.arguments={crop: 6}", "data.n=3"], {"crop": 6, "n": 3}, {"crop": 0}),
        ("anything", ["+data.arguments={}", "data.crop=6"], {}, {"crop": 6}),
        ("unreadable", ["+data.arguments={name: hard}"], {"name": "hard"}, {}),
    ],
)
def test_a_name_of_the_signature_is_the_functions_and_another_is_ours(
    target: str, overrides: list[str], arguments: dict[str, Any], ours: dict[str, Any]
) -> None:
    data = settings(target, *overrides).data
    assert dict(data.arguments) == arguments
    assert {name: getattr(data, name) for name in ours} == ours


@pytest.mark.parametrize(
    ("target", "override", "said"),
    [
        ("plain", "data.m=1", "data.m: 'm' is unknown (valid: cache, crop"),
        ("plain", "data.validation=0.5", "data.validation: plain has no such argument"),
        ("plain", "data.name=hard", "data.name: plain has no such argument"),
        ("anything", "data.crop=6", "data.crop: anything may take any name"),
        ("anything", "data.name=hard", "put the arguments of anything under data.arguments"),
        ("unreadable", "data.flip=true", "data.flip: dict may take any name"),
        ("absent", "data.n=3", "'absent' is unknown"),
        ("plain", "+space.data.m.choices=[1,2]", "space.data.m: 'm' is unknown"),
        (
            "plain",
            "+space.data.validation.choices=[0.1,0.2]",
            "space.data.validation: plain has no",
        ),
        ("plain", "+space.data.in_memory.choices=[auto]", "space.data.in_memory: 'in_memory' is"),
        ("anything", "+space.data.crop.choices=[1,2]", "space.data.crop: anything may take any"),
    ],
)
def test_a_name_that_nobody_has_or_both_may_have_is_refused(
    target: str, override: str, said: str
) -> None:
    assert said in problems(target, override)


def test_all_of_it_is_said_at_once_with_the_other_problems() -> None:
    said = problems("plain", "data.m=1", "data.name=hard", "study.n_trails=3")
    assert all(key in said for key in ("data.m", "data.name", "n_trails"))


def test_a_searched_name_of_the_signature_is_given_to_the_function() -> None:
    searched = ["+space.data.crop.choices=[1,2]", "+space.data.validation.choices=[0.1,0.2]"]
    data = settings("crops", searched[0]).data.with_arguments({"crop": 2})
    assert (dict(data.arguments), data.crop) == ({"crop": 2}, 0)
    data = settings("load", searched[1]).data.with_arguments({"validation": 0.2})
    assert (dict(data.arguments), data.validation) == ({"validation": 0.2}, None)
    data = settings("plain", searched[0]).data.with_arguments({"crop": 2})
    assert (dict(data.arguments), data.crop) == ({}, 2)


def test_a_model_is_given_a_name_of_its_own() -> None:
    model = settings("Net", "model.name=large", "model.width=8", section="model").model
    assert dict(model.arguments) == {"name": "large", "width": 8}
    assert "model.nam: 'nam' is unknown; did you mean name?" in problems(
        "Net", "model.nam=large", section="model"
    )
    assert "model.name: Open may take any name" in problems(
        "Open", "model.name=large", section="model"
    )
    told = settings("Open", "+model.arguments={name: large}", section="model").model
    assert dict(told.arguments) == {"name": "large"}


@pytest.mark.parametrize(
    ("section", "target", "overrides", "name"),
    [
        ("model", "Net", ["+model.arguments={name: q}", "model.name=z"], "name"),
        ("model", "Net", ["+model.arguments={width: 2}", "model.width=3"], "width"),
        ("model", "Open", ["+model.arguments={depth: 2}", "model.depth=2"], "depth"),
        ("data", "load", ["+data.arguments={n: 2}", "data.n=3"], "n"),
        ("data", "crops", ["+data.arguments={crop: 2}", "data.crop=3"], "crop"),
    ],
)
def test_one_argument_has_one_value(
    section: str, target: str, overrides: list[str], name: str
) -> None:
    said = problems(target, *overrides, section=section)
    assert f"{section}.{name}: {target} is given this argument twice" in said
    assert f"{section}.arguments.{name}=" in said


def test_a_name_of_lrsearch_and_an_argument_of_that_name_are_two_things() -> None:
    data = settings("anything", "+data.arguments={crop: 6}", "data.crop=2").data
    assert (dict(data.arguments), data.crop) == ({"crop": 6}, 2)


@pytest.mark.parametrize("written", ["model._target_={}", "model={{_target_: {}}}"])
@pytest.mark.parametrize("target", ["Net", "Open", "Hidden"])
def test_arguments_of_a_replaced_part_of_the_catalogue_go(written: str, target: str) -> None:
    made = load_settings(["+sweep=digits", written.format(f"mine_arguments.{target}")])
    assert dict(made.model.arguments) == {}
    assert "hidden" not in made.plain["model"]
    data = load_settings(["+sweep=digits", "data=linear", "data._target_=mine_arguments.plain"])
    assert dict(data.data.arguments) == {}


def test_what_the_user_has_written_beside_a_target_counts() -> None:
    made = settings("Hidden", "model.hidden=[8]", section="model")
    assert dict(made.model.arguments) == {"hidden": [8]}
    assert "model.hidden: 'hidden' is unknown" in problems(
        "Net", "model.hidden=[8]", section="model"
    )
    sweep = Path("sweeps/mine.yaml")
    sweep.parent.mkdir(exist_ok=True)
    sweep.write_text("model: {_target_: mine_arguments.Net, hidden: [8]}\n")
    with pytest.raises(ConfigErrors, match=r"model\.hidden: 'hidden' is unknown"):
        load_settings(["+sweep=mine"])
    Path("parts/model").mkdir(parents=True)
    Path("parts/model/base.yaml").write_text("width: 6\n")
    Path("parts/model/net.yaml").write_text(
        "defaults: [base, _self_]\n_target_: mine_arguments.Net\n"
    )
    made = load_settings(["+sweep=digits", "model=net"], config_dir="parts")
    assert dict(made.model.arguments) == {"width": 6}


def test_what_is_stored_reads_the_same_without_the_users_code() -> None:
    made = settings("load", "data.name=hard", "data.root=/elsewhere", "data.n=3", "data.crop=1")
    sys.modules.pop("mine_arguments")
    Path("mine_arguments.py").unlink()
    again = stored_settings(made.plain)
    assert again.data == made.data
    assert again.plain == made.plain


def test_a_part_of_the_users_own_folder_is_written_by_the_user() -> None:
    Path("parts/data").mkdir(parents=True)
    Path("parts/data/hard.yaml").write_text("_target_: mine_arguments.load\nname: hard\n")
    data = load_settings(["+sweep=digits", "data=hard"], config_dir="parts").data
    assert dict(data.arguments) == {"name": "hard"}


def test_a_sweep_says_what_is_passed() -> None:
    made = settings(
        "load", "data.name=hard", "data.crop=2", "+space.data.n.choices=[1,2]",
        "train.loss={_target_: mine_arguments.plain, n: 3}",
    )  # fmt: skip
    assert own_code_calls(made, None) == [
        "data: mine_arguments.load(name='hard', n=<searched>); lrsearch's loop: crop=2",
        "loss: mine_arguments.plain(outputs, targets, n=3)",
    ]


# The objective


@pytest.mark.parametrize(
    ("target", "overrides", "strict", "arguments"),
    [
        ("trains", [], False, {}),
        ("trains", ["+objective.strict_lr=true", "+objective.n=4"], True, {"n": 4}),
        ("strict", ["+objective.strict_lr=true"], False, {"strict_lr": True}),
        ("strict", ["+objective.arguments={strict_lr: 3}", "+objective.strict_lr=5"], None, {}),
        ("anything", ["+objective.strict_lr=true", "+objective.arguments={}"], True, {}),
        ("anything", ["+objective.arguments={strict_lr: 3}"], False, {"strict_lr": 3}),
        ("arguments", ["+objective.arguments=2"], False, {"arguments": 2}),
        ("anything", ["+objective.strict_lr=true"], None, {}),
        ("trains", ["+objective.strict_lr=maybe"], None, {}),
    ],
)
def test_an_option_beside_an_objective_is_lrsearchs_unless_the_function_names_it(
    target: str, overrides: list[str], strict: bool | None, arguments: dict[str, Any]
) -> None:
    if strict is None:
        assert "objective.strict_lr" in problems(target, *overrides, section="objective")
        return
    made = settings(target, *overrides, section="objective")
    for read in (made, stored_settings(made.plain)):
        assert read.strict_lr is strict
        assert read.objective is not None
        assert read.objective.arguments == arguments
