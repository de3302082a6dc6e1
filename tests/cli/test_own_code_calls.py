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


def test_what_is_searched_and_not_given_to_a_script_is_named(own_folder: Path) -> None:
    (own_folder / "train.py").touch()

    def notes(command: str, *overrides: str) -> list[str]:
        return lines(f"objective.command={command}", *overrides)[2:]

    by_option = '[python, train.py, --lr, "{lr}", --batch-size, "{batch_size}"]'
    (note,) = notes(by_option)
    assert "not in the command: optimizer, scheduler, warmup." in note
    (note,) = notes(by_option, "space.optimizer.only=[sgd]", "space.scheduler.only=[cosine]")
    assert all(name in note for name in ("weight_decay", "momentum", "warmup", "cosine.final"))
    assert "scheduler," not in note

    assert notes("[python, train.py]") == []  # it asks for its recipe
    assert notes('[python, train.py, --recipe, "{recipe_file}", --lr, "{lr}"]') == []
    assert notes(by_option, "space=bare", "space.lr={low: 1e-4, high: 1, log: true}") == []
