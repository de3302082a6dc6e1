"""The names that parameters are stored under: what they say, and that they are never lost."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.space.names import ParameterName, as_written

WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(
    lambda word: not word.startswith("log2_") and not word.endswith("_ref")
)
OWNED = st.one_of(
    WORDS, st.sampled_from(["", "model", "data"]), WORDS.map(lambda group: f"groups.{group}")
)
NAMES = st.one_of(
    st.builds(ParameterName, WORDS, OWNED, is_log2=st.booleans()),
    st.builds(
        ParameterName,
        st.just("lr"),
        OWNED.filter(lambda owner: owner not in ("model", "data")),
        st.booleans(),
        st.booleans(),
    ),
)


@given(NAMES)
def test_a_name_is_read_back_as_it_was_written(name: ParameterName) -> None:
    assert ParameterName.parse(str(name)) == name


@given(st.text() | st.text("log2_.modelrf", max_size=12))
@example(".lr_ref")
@example("log2_log2_x")
@example("model.")
def test_a_stored_name_is_written_back_as_it_was_read(stored: str) -> None:
    assert str(ParameterName.parse(stored)) == stored


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("lr", ParameterName("lr")),
        ("optimizer", ParameterName("optimizer")),
        ("step.gamma", ParameterName("gamma", "step")),
        ("adamw.lr_ref", ParameterName("lr", "adamw", is_reference=True)),
        ("lr_ref", ParameterName("lr", is_reference=True)),
        ("log2_batch_size", ParameterName("batch_size", is_log2=True)),
        ("log2_model.width", ParameterName("width", "model", is_log2=True)),
        ("groups.head.lr_factor", ParameterName("lr_factor", "groups.head")),
        ("model.lr_ref", ParameterName("lr_ref", "model")),  # users name these arguments
        ("data.noise.scale", ParameterName("noise.scale", "data")),
    ],
)
def test_what_a_stored_name_says(stored: str, name: ParameterName) -> None:
    assert ParameterName.parse(stored) == name
    assert str(name) == stored


@pytest.mark.parametrize("stored", ["lr", "lr_ref", "adamw.lr", "adamw.lr_ref"])
def test_learning_rates_are_known_by_their_names(stored: str) -> None:
    assert ParameterName.parse(stored).is_rate


@pytest.mark.parametrize("stored", ["model.lr", "data.lr", "cosine.final", "groups.a.lr_factor"])
def test_other_parameters_are_no_learning_rates(stored: str) -> None:
    name = ParameterName.parse(stored)
    assert not name.is_rate
    with pytest.raises(ValueError, match="no learning rate"):
        name.as_reference()


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ("optimizer", "sgd"),
        ("scheduler", "cosine"),
        ("lr", 0.2),
        ("sgd.lr_ref", 0.1),
        ("log2_batch_size", 64),
        ("momentum", 0.8),
        ("sgd.momentum", 0.8),
        ("cosine.final", 0.05),
        ("model.lr_ref", 3),
        ("data.crop", 2),
        ("data.flip", None),
    ],
)
def test_what_a_recipe_has_for_a_name(stored: str, value: object) -> None:
    recipe = Recipe(
        lr=0.2, batch_size=64, lr_ref=0.1, optimizer=ComponentConfig("sgd", {"momentum": 0.8}),
        scheduler=ComponentConfig("cosine", {"final": 0.05}), model={"lr_ref": 3}, data={"crop": 2},
    )  # fmt: skip
    assert ParameterName.parse(stored).value_in(recipe) == value


def test_trials_are_shown_in_the_words_that_settings_are_written_in() -> None:
    stored = {"log2_batch_size": 7, "log2_model.width": 3, "lr_ref": 0.1, "adamw.lr": 0.2}
    written = {"batch_size": 128, "model.width": 8, "lr_ref": 0.1, "adamw.lr": 0.2}
    assert as_written(stored) == written
