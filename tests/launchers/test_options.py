"""The options of launchers, as a configuration gives them."""

from __future__ import annotations

import pytest

from lrsearch.cli.compose import load_configuration
from lrsearch.errors import ConfigErrors


@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        ("slurm", ["extra"]),
        ("ray", ["resources", "runtime_env"]),
        ("kubernetes", ["node_selector", "extra"]),
    ],
)
def test_all_options_that_are_no_mappings_are_told_at_once(
    launcher: str, options: list[str]
) -> None:
    given = [f"launcher.{option}=word" for option in options]
    with pytest.raises(ConfigErrors) as refused:
        load_configuration(["+sweep=digits", f"launcher={launcher}", "workers=2", *given])
    for option in options:
        assert f"launcher.{option}: 'word' is not a mapping" in str(refused.value)


@pytest.mark.parametrize(
    ("launcher", "option"), [("slurm", "setup"), ("ray", "env"), ("kubernetes", "env_from")]
)
@pytest.mark.parametrize("value", ["word", "[word, 5]", "[{key: word}]"])
def test_what_is_no_list_of_texts_is_told(launcher: str, option: str, value: str) -> None:
    given = f"launcher.{option}={value}"
    with pytest.raises(ConfigErrors, match=rf"launcher\.{option}: .* is not a list of texts"):
        load_configuration(["+sweep=digits", f"launcher={launcher}", "workers=2", given])


@pytest.mark.parametrize("value", ["word", "[word]"])
def test_what_is_no_list_of_mappings_is_told(value: str) -> None:
    given = f"launcher.tolerations={value}"
    with pytest.raises(ConfigErrors, match=r"launcher\.tolerations: .* is not a list of mappings"):
        load_configuration(["+sweep=digits", "launcher=kubernetes", "workers=2", given])
