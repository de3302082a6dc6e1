"""Colours: one meaning each in all figures, to be seen on white and on black."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.plots.palette import (
    BEST,
    FAINT,
    FAMILIES,
    INK,
    LEARNED_NOTHING,
    OUTCOMES,
    PLAIN,
    family_colour,
    family_dash,
    family_symbol,
    in_order,
)
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.states import Outcome

WHITE, BLACK = "#ffffff", "#14181c"
BAD = {shade for outcome, shade in OUTCOMES.items() if outcome not in ("complete", "pruned")}
JUDGEMENTS = {BEST, LEARNED_NOTHING, *BAD}
NEUTRAL = {PLAIN, FAINT, INK}


def linear(shade: str) -> list[float]:
    parts = [int(shade[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, WCAG 2."""
    weights = (0.2126, 0.7152, 0.0722)
    low, high = sorted(
        sum(w * part for w, part in zip(weights, linear(shade), strict=True))
        for shade in (one, other)
    )
    return (high + 0.05) / (low + 0.05)


def lab(shade: str) -> list[float]:
    """A colour in OKLab (Ottosson 2020), where distances are those that people see."""
    to_lms = ((0.41222, 0.53633, 0.05145), (0.21190, 0.68070, 0.10740), (0.08830, 0.28172, 0.62998))
    to_lab = ((0.21045, 0.79362, -0.00407), (1.97800, -2.42859, 0.45059), (0.02590, 0.78277, -0.80868))  # fmt: skip  # noqa: E501
    rgb = linear(shade)
    lms = [sum(a * b for a, b in zip(row, rgb, strict=True)) ** (1 / 3) for row in to_lms]
    return [sum(a * b for a, b in zip(row, lms, strict=True)) for row in to_lab]


def distance(one: str, other: str) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(lab(one), lab(other), strict=True))) ** 0.5


@pytest.mark.parametrize("shade", sorted({*FAMILIES, *JUDGEMENTS, *NEUTRAL}))
def test_each_colour_can_be_seen_on_the_light_and_on_the_dark_page(shade: str) -> None:
    assert contrast(shade, WHITE) >= 2.5
    assert contrast(shade, BLACK) >= 2.5


def test_a_colour_has_one_meaning() -> None:
    """Families, judgements, and what is neutral look different from each other."""
    groups = [set(FAMILIES), JUDGEMENTS, NEUTRAL]
    for one, other in itertools.combinations(groups, 2):
        assert min(distance(a, b) for a in one for b in other) >= 0.07
    for group in (FAMILIES, sorted(JUDGEMENTS)):
        assert min(distance(a, b) for a, b in itertools.combinations(group, 2)) >= 0.07


def test_every_outcome_of_a_trial_has_a_colour() -> None:
    assert set(OUTCOMES) == set(Outcome) - {Outcome.DROPPED}


def test_no_two_families_look_the_same() -> None:
    assert len({(family_colour(name), family_symbol(name)) for name in SCHEDULERS}) == len(
        SCHEDULERS
    )
    assert len({(family_colour(name), family_dash(name)) for name in SCHEDULERS}) == len(SCHEDULERS)


def test_the_families_of_the_default_sweep_have_colours_and_markers_of_their_own() -> None:
    default = ["constant", "step", "cosine", "linear", "one_cycle", "plateau"]
    assert len({family_colour(name) for name in default}) == len(default)
    assert len({family_symbol(name) for name in default}) == len(default)


def test_families_come_in_the_order_of_the_catalogue_each_once() -> None:
    assert in_order(["mine", "cosine", "constant", "cosine", "a"]) == [
        "constant", "cosine", "a", "mine",
    ]  # fmt: skip


@given(st.permutations([*SCHEDULERS, "mine", "yours.Own"]))
def test_the_order_does_not_depend_on_the_trials(names: list[str]) -> None:
    assert in_order(names) == [*SCHEDULERS, "mine", "yours.Own"]
