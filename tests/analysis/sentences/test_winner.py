"""What is said of the recipe to use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names
from synthetic import recipe, settings_for, trial

from lrsearch.analysis.noise import Noise
from lrsearch.analysis.sentences import say
from lrsearch.analysis.sentences.winner import WINNER
from lrsearch.analysis.winner import Winner
from lrsearch.confirm.result import Confirmation, Run

BEST, SECOND = trial(6, recipe(0.1), 0.2031256), trial(3, recipe(0.2), 0.2131256)
RECIPE = "sgd(momentum=0.9, nesterov=True, weight_decay=0.0001) lr=0.1 batch=32 cosine"
NONE = Winner(
    metric=settings_for().metric, complete=0, best=None, runner_up=None, close=0, equal=0,
    noise=None, confirmation=None, data=None, searched=(), to_come="More seeds will tell.",
)  # fmt: skip
ONE = replace(NONE, complete=1, best=BEST)
TWO = replace(ONE, complete=2, runner_up=SECOND)
MANY = replace(TWO, complete=30, close=1)
TIED = replace(TWO, equal=1, runner_up=replace(SECOND, value=BEST.value))
QUIET = replace(MANY, noise=Noise(0.001, 2, 5))
NOISY = replace(MANY, noise=Noise(0.01, 1, 2))
AT = MANY.metric.at


def confirmation(*outcomes: str) -> Confirmation:
    """A confirmation of trial 6 on seeds, of which some have ended."""
    runs = [
        Run(6, seed, "done", outcome, 0.21 + 0.001 * seed if outcome == "complete" else None)
        for seed, outcome in enumerate(outcomes)
    ]
    return Confirmation("val_loss", "min", {6: 0.2}, 30, [*runs], None)


OPEN = replace(confirmation("complete"), runs=[Run(6, 0, "open")])
BROKEN = replace(MANY, confirmation=confirmation("diverged", "diverged"))
EXAMPLES = {
    "winner.none": Example(
        NONE, "No trial has run to its end, so there is no recipe to recommend.", ONE
    ),
    "winner.confirmed": Example(
        replace(MANY, confirmation=confirmation("complete", "complete")), "", MANY
    ),
    "winner.found": Example(
        QUIET,
        f"The best of 30 complete trials is trial 6 with val_loss 0.2031 at its {AT} evaluation: "
        f"{RECIPE}.",
        NONE,
    ),
    "winner.only": Example(ONE, "There is nothing to compare it with.", TWO),
    "winner.tie": Example(TIED, "It is a tie: trial 3 has the same value.", TWO),
    "winner.runner_up": Example(
        MANY,
        "The runner-up, trial 3, has 0.2131: a gap of 0.01 (4.9 %). 1 of the other 29 complete "
        "trials came within 1 % of the best.",
        TIED,
    ),
    "winner.noise_unknown": Example(
        TWO,
        "How sure this is cannot be told: each recipe was trained with one seed, so the noise "
        "between seeds is not known.",
        QUIET,
    ),
    "winner.real": Example(
        QUIET,
        "Two seeds of one recipe differ by 0.0014 (one standard deviation, from 5 trials of 2 "
        "recipes trained more than once): the gap is more than twice that, so the lead is likely "
        "real.",
        NOISY,
    ),
    "winner.chance": Example(
        NOISY,
        "Two seeds of one recipe differ by 0.014 (one standard deviation, from 2 trials of 1 "
        "recipe trained more than once): the gap is no more than twice that, so it may well be "
        "chance.",
        QUIET,
    ),
    "winner.few": Example(TWO, "With 2 complete trials much may still change.", MANY),
    "winner.optimistic": Example(
        MANY,
        "It is the best of 30 on the validation data: on new data expect it to be a little worse.",
        ONE,
    ),
    "winner.to_come": Example(MANY, "More seeds will tell.", BROKEN),
    "winner.unconfirmed": Example(
        replace(MANY, confirmation=OPEN),
        "It is not confirmed yet (confirming the best: 0 of 1 run).",
        BROKEN,
    ),
    "winner.broken": Example(
        BROKEN, "No candidate could be confirmed: a run of each broke on fresh seeds.", MANY
    ),
}


def test_a_gap_that_noise_swamps_is_not_a_row_of_zeros() -> None:
    close = replace(SECOND, value=0.2031256 + 2e-8)
    lines = say(replace(MANY, runner_up=close, noise=Noise(0.33, 1, 2)))
    (line,) = [line for line in lines if line.startswith("The runner-up")]
    assert "a gap of 2e-08 (under 0.01 %)." in line


@pytest.mark.parametrize("name", [name for name in names(WINNER) if name != "winner.confirmed"])
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(WINNER, name, EXAMPLES)


def test_a_confirmed_winner_is_told_with_its_mean_on_fresh_seeds() -> None:
    lines = say(EXAMPLES["winner.confirmed"].of)
    assert len(lines) == 1
    assert lines[0].startswith("The confirmed best is trial 6, with val_loss 0.21")
    assert lines[0].endswith(f"mean of 2 runs: {RECIPE}.")
    assert not any("confirmed best" in line for line in say(MANY))


def test_a_value_has_the_digits_that_the_noise_allows() -> None:
    assert "val_loss 0.203 at" in say(NOISY)[0]
    assert "val_loss 0.2031 at" in say(QUIET)[0]


def test_of_several_ties_the_number_is_told() -> None:
    assert say(replace(TIED, equal=2))[1] == "It is a tie: 2 other trials have the same value."


def test_the_recipe_shows_all_that_was_searched() -> None:
    searched = ("sgd.momentum", "warmup", "grad_clip", "cosine.final")
    text = say(replace(MANY, searched=searched))[0]
    assert text.endswith(f"{RECIPE}(final=0) warmup=0 clip=none.")
