"""Best values at the edges of their ranges."""

from __future__ import annotations

import random

import pytest
from synthetic import recipe, sampled, settings_for, study_of, trial

from lrsearch.analysis.edges import NEAR, Edges, _chance, find_edges
from lrsearch.analysis.parameters import position
from lrsearch.analysis.sentences import say
from lrsearch.recipe import Recipe
from lrsearch.space.domains import FloatRange, IntRange, PowersOfTwo


def edges_of(best: Recipe, *overrides: str, complete: int = 10) -> Edges:
    """The edges of a study whose best recipe was trained so many times."""
    trials = [trial(k, best, 0.1 + k) for k in range(complete)]
    return find_edges(study_of(trials, *overrides), settings_for(*overrides))


def near(edges: Edges) -> dict[str, str | None]:
    return {edge.name: edge.override for edge in edges.near}


def test_a_rate_within_a_tenth_of_the_decades_is_at_the_edge() -> None:
    assert near(edges_of(recipe(0.9, 64)))["lr"] == "space.lr.high=10"
    assert near(edges_of(recipe(0.0015, 64)))["lr"] == "space.lr.low=0.0001"
    # A tenth of the way on a linear scale is half of the way in decades.
    assert "lr" not in near(edges_of(recipe(0.1, 64)))


def test_a_branch_is_widened_under_its_own_key() -> None:
    found = near(edges_of(recipe(0.029, 64, optimizer="adamw")))
    assert found["adamw.lr"] == "space.optimizer.adamw.lr.high=0.3"
    decayed = recipe(0.1, 64, "step", arguments={"step_size": 0.3, "gamma": 0.69})
    assert near(edges_of(decayed))["step.gamma"] == "space.scheduler.step.gamma.high=1"


def test_where_nothing_lies_beyond_there_is_nothing_to_widen() -> None:
    edges = edges_of(recipe(0.1, 64, arguments={"final": 0.0}))
    assert near(edges)["cosine.final"] is None
    assert near(edges)["warmup"] is None
    assert any("Nothing lies beyond" in line for line in say(edges))


def test_batches_grow_by_powers_of_two_but_not_beyond_the_data() -> None:
    assert near(edges_of(recipe(0.1, 128)))["batch_size"] == "space.batch_size.high=512"
    assert near(edges_of(recipe(0.1, 16)))["batch_size"] == "space.batch_size.low=4"
    large = edges_of(recipe(0.1, 1024), "space.batch_size.high=1024")
    assert near(large)["batch_size"] is None  # there are 1,078 samples


def test_a_coupled_rate_is_widened_as_the_rate() -> None:
    best = recipe(0.9, 128, lr_ref=0.9)
    assert near(edges_of(best, "coupling.rule=sqrt"))["lr_ref"] == "space.lr.high=10"


def test_the_neighbours_at_the_same_edge_are_counted() -> None:
    rates = [0.95, 0.9, *[0.1] * 10]
    trials = [trial(k, recipe(lr, 64), 0.1 + k) for k, lr in enumerate(rates)]
    (edge,) = [
        edge for edge in find_edges(study_of(trials), settings_for()).near if edge.name == "lr"
    ]
    assert (edge.top, edge.top_of, edge.complete) == (2, 10, 12)


@pytest.mark.parametrize(("complete", "words"), [(1, "1 complete trial has"), (9, "9 complete")])
def test_with_few_trials_no_range_is_to_be_widened(complete: int, words: str) -> None:
    edges = edges_of(recipe(0.95, 64), complete=complete)
    assert "lr" in near(edges)
    assert edges.overrides == ()
    assert any(f"Only {words}" in line and "too few" in line for line in say(edges))


def test_how_likely_an_edge_is_by_chance_is_told_by_parameter() -> None:
    # Of the batch sizes 16, 32, 64 and 128 two are at an edge.
    edges = edges_of(recipe(0.95, 128))
    chances = {edge.name: edge.chance for edge in edges.near}
    assert chances["lr"] == pytest.approx(0.2)
    assert chances["batch_size"] == pytest.approx(0.5)
    assert "lr: 20 %" in say(edges)[-1]
    assert "batch_size: 50 %" in say(edges)[-1]


@pytest.mark.parametrize(
    "domain",
    [IntRange(1, 100), IntRange(1, 100, log=True), IntRange(0, 9, step=3), PowersOfTwo(1, 64),
     FloatRange(0.0, 1.0, step=0.25)],
)  # fmt: skip
def test_the_chance_is_how_often_a_random_value_lies_at_an_edge(
    domain: IntRange | PowersOfTwo | FloatRange,
) -> None:
    rng, count = random.Random(0), 4000
    places = [position(domain, domain.sample(rng)) or 0.0 for _ in range(count)]
    share = sum(place <= NEAR or place >= 1 - NEAR for place in places) / count
    assert _chance(domain) == pytest.approx(share, abs=0.03)


def test_a_patience_that_rounds_to_the_same_evaluations_is_not_to_be_widened() -> None:
    patient = recipe(0.1, 64, "plateau", arguments={"factor": 0.2, "patience": 0.06})
    assert near(edges_of(patient, "train.epochs=50"))["plateau.patience"] is not None
    short = edges_of(patient, "train.epochs=3")
    assert "plateau.patience" not in {*near(short), *short.checked}


def test_a_best_recipe_in_the_middle_leaves_the_space_as_it_is() -> None:
    middle = recipe(0.05, 64, "constant", optimizer="sgd", warmup=0.1)
    overrides = ("space.weight_decay=null", "space.optimizer.sgd.momentum.value=0.9")
    edges = edges_of(middle, *overrides)
    assert edges.near == ()
    assert "The space looks right" in say(edges)[0]
    assert "says little yet" in say(edges_of(middle, *overrides, complete=3))[0]


@pytest.mark.parametrize("count", [0, 1])
def test_a_study_without_a_complete_trial_has_nothing_to_check(count: int) -> None:
    study = study_of([trial(k, recipe(), None, "diverged") for k in range(count)])
    assert find_edges(study, settings_for()).places == ()


def test_places_are_shares_of_the_range() -> None:
    for _, places in find_edges(sampled(50), settings_for()).places:
        assert all(0 <= place <= 1 for place in places)
