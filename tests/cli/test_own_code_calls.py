"""What the start of a sweep says of the user's own code."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.cli.own_code_calls import own_code_calls


@pytest.fixture
def own(own_folder: Path) -> None:
    (own_folder / "own.py").write_text(
        "def train(trial, epochs, n=3): pass\ndef older(recipe, report): pass\n"
    )


def lines(*overrides: str) -> list[str]:
    return own_code_calls(load_settings(["+sweep=digits", *overrides]), None)


def test_a_loop_of_ones_own_is_said_with_what_it_gets_and_what_counts_as_progress(
    own: None,
) -> None:
    call, progress = lines("objective={_target_: own.train, n: 5}", "train.epochs=20")
    assert call == "objective: own.train(trial, epochs, n=5)"
    assert progress.startswith("progress: the epoch that is reported, of train.epochs=20")
    assert lines("objective._target_=own.older")[0] == "objective: own.older(recipe, report)"


def test_a_scheduler_that_counts_evaluations_is_named_where_only_steps_are_known(
    own: None,
) -> None:
    by_steps = ("objective._target_=own.train", "train.steps=1000")
    *_, note = lines(*by_steps, "space.scheduler.only=[cosine,plateau]")
    assert note.startswith("plateau: counts in evaluations")
    assert len(lines(*by_steps, "space.scheduler.only=[cosine]")) == 2
