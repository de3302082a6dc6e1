"""A tuned argument is whole or not by what it is declared for, before its numbers are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Union

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.config.load import stored_settings
from lrsearch.errors import ConfigErrors
from lrsearch.registry import parameters_of
from lrsearch.settings import Settings
from lrsearch.space.domains import FloatRange, IntRange
from lrsearch.study.study import differences

MINE = """
class Net:
    def __init__(self, n_outputs, p=0.0, width=8, depth: int = 1, decay: "float | None" = None,
                 **others): ...

def load(noise: float = 0, size=3): ...
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine_types.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def settings(*overrides: str) -> Settings:
    return load_settings(["+sweep=digits", *overrides])


MODEL = "model={_target_: mine_types.Net}"
DATA = "data={_target_: mine_types.load}"


def test_the_catalogues_type_decides() -> None:
    shared = settings("space.model.dropout={low: 0, high: 1}").space.shared
    assert shared["model.dropout"] == FloatRange(0.0, 1.0)
    linear = load_settings(["+sweep=linear", "space.data={noise: {low: 0, high: 1}, n: [8, 9]}"])
    assert linear.space.shared["data.noise"] == FloatRange(0.0, 1.0)


@pytest.mark.parametrize(
    ("argument", "domain"),
    [
        ("p", FloatRange(0.0, 4.0)),  # a float default
        ("decay", FloatRange(0.0, 4.0)),  # an annotation
        ("depth", IntRange(0, 4)),
        ("width", IntRange(0, 4)),  # a whole default says nothing: the numbers do
        ("unknown", IntRange(0, 4)),
    ],
)
def test_the_users_function_decides(mine: Path, argument: str, domain: Any) -> None:
    checked = settings(MODEL, f"space.model.{argument}={{low: 0, high: 4}}")
    assert checked.space.shared[f"model.{argument}"] == domain
    doubtful = argument in ("width", "unknown")
    assert any("whole numbers from 0 to 4" in note for note in checked.notes) == doubtful
    # What is stored has it, so that it is read alike where the user's code is not.
    assert stored_settings(checked.plain).space == checked.space


def test_data_are_read_alike(mine: Path) -> None:
    checked = settings(DATA, "space.data={noise: {low: 0, high: 2}, crop: {low: 0, high: 2}}")
    assert checked.space.shared["data.noise"] == FloatRange(0.0, 2.0)
    assert checked.space.shared["data.crop"] == IntRange(0, 2)
    assert checked.notes == ()


def test_a_type_that_is_given_wins(mine: Path) -> None:
    given = settings(MODEL, "space.model.p={low: 0, high: 4, type: int}")
    assert given.space.shared["model.p"] == IntRange(0, 4)
    assert given.notes == ()
    other = settings(MODEL, "space.model.depth={low: 0, high: 4, type: float}")
    assert other.space.shared["model.depth"] == FloatRange(0.0, 4.0)


def test_a_fraction_for_a_whole_argument_is_a_problem(mine: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"space.model.depth.low: 0.5 is not a whole number"):
        settings(MODEL, "space.model.depth={low: 0.5, high: 4}")


def test_what_cannot_be_imported_is_reported_once() -> None:
    with pytest.raises(ConfigErrors) as refused:
        settings("model={_target_: no_such_module.Net}", "space.model.p={low: 0, high: 1}")
    assert len(refused.value.problems) == 1
    assert "no_such_module" in refused.value.problems[0]


def test_what_is_stored_keeps_the_type_of_its_numbers() -> None:
    stored = dict(settings().plain)
    stored["space"] = {**stored["space"], "model": {"dropout": {"low": 0, "high": 1}}}
    assert stored_settings(stored).space.shared["model.dropout"] == IntRange(0, 1)


def test_a_type_that_the_numbers_say_too_is_no_difference() -> None:
    plain = settings("space.model.dropout={low: 0, high: 1, type: int}").plain
    without = settings("space.model.dropout={low: 0, high: 1}").plain
    node = {"dropout": {"low": 0, "high": 1}}
    assert differences({**plain, "space": {**plain["space"], "model": node}}, plain) == []
    assert differences(plain, without) == ["space.model.dropout.type: was absent, is 'float'"]


def test_what_annotations_and_defaults_say() -> None:
    def function(  # type: ignore[no-untyped-def]
        a: float, b: int, c: "float | None", d: Optional[int], e: Union[int, float], f: str,  # noqa: UP007, UP037, UP045
        g: bool, h=0.5, i=1, j=None, k: Any = 0.5, *args: int, **kwargs,
    ):  # fmt: skip
        ...

    found = {
        name: one.kind
        for name, one in parameters_of(function).items()
        if one.kind in ("int", "float")
    }
    assert {name: found.get(name) for name in "abcdefghijk"} == {
        "a": "float", "b": "int", "c": "float", "d": "int", "e": "float", "f": None,
        "g": None, "h": "float", "i": None, "j": None, "k": None,
    }  # fmt: skip
    assert parameters_of(print) is not None
