"""What mattered."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import recipe, sampled, settings_for, study_of, trial

from lrsearch.analysis.importance import RATE, find_importance, hardly_varied
from lrsearch.analysis.parameters import SearchedParameter
from lrsearch.analysis.sentences import say
from lrsearch.recipe import Recipe
from lrsearch.space.domains import Choices, FloatRange


def only_the_rate(used: Recipe) -> float:
    return abs(math.log10(used.lr / 0.03))


def test_the_parameter_that_decides_comes_first() -> None:
    overrides = ("space.optimizer.only=[sgd]", "space.lr.high=0.5")
    study = sampled(200, *overrides, value=only_the_rate)
    importance = find_importance(study, settings_for(*overrides))
    shares = dict(importance.shares)
    assert importance.shares[0][0] == RATE
    assert importance.order[0] == "lr"
    assert shares[RATE] > 0.5
    assert math.isclose(sum(shares.values()), 1)
    assert any(f"{RATE} (" in line for line in say(importance))


def test_parameters_of_branches_are_weighed_by_the_share_of_their_branch() -> None:
    importance = find_importance(sampled(150), settings_for())
    names = {name for name, _ in importance.shares}
    assert {"optimizer", "scheduler", RATE, "sgd.momentum", "batch_size"} <= names
    assert dict(importance.shares)["scheduler"] > dict(importance.shares)["warmup"]


def test_more_is_better_where_the_metric_says_so() -> None:
    overrides = (
        "space.optimizer.only=[sgd]", "space.lr.high=0.5", "metric.name=val_accuracy",
        "metric.mode=max",
    )  # fmt: skip
    study = sampled(200, *overrides, value=lambda used: -only_the_rate(used))
    assert find_importance(study, settings_for(*overrides)).shares[0][0] == RATE


def test_few_trials_give_words_instead_of_numbers() -> None:
    importance = find_importance(study_of([trial(0, recipe(), 1.0)]), settings_for())
    assert importance.shares == ()
    assert "too few to tell" in say(importance)[0]


def test_a_branch_that_was_rarely_tried_is_not_judged() -> None:
    importance = find_importance(sampled(60), settings_for())
    assert "plateau.factor" in importance.unjudged
    assert "plateau.factor" not in dict(importance.shares)
    assert any("too few to judge" in line for line in say(importance))


def test_the_rates_of_all_optimizers_are_one_parameter() -> None:
    importance = find_importance(sampled(150), settings_for())
    assert {"lr", "adamw.lr"} <= set(importance.order)
    assert not {"lr", "adamw.lr"} & {name for name, _ in importance.shares}
    coupled = ("coupling.rule=sqrt", "space.optimizer.only=[sgd]", "space.lr.high=0.5")
    study = sampled(100, *coupled, value=only_the_rate)
    assert RATE in dict(find_importance(study, settings_for(*coupled)).shares)


def test_a_rate_that_the_sampler_settled_on_is_not_said_to_matter_little() -> None:
    """Of a model-based search: the best rate is found soon, and most trials have it."""
    overrides = ("space.optimizer.only=[sgd]", "space.lr.high=0.5", "sampler=tpe")
    rng, space = random.Random(3), settings_for(*overrides).space
    trials = []
    for number in range(60):
        used = space.sample(rng)
        if number >= 12:
            used = replace(used, lr=0.03 * 10 ** rng.uniform(-0.1, 0.1))
        trials.append(trial(number, used, only_the_rate(used) + rng.gauss(0.0, 0.05)))
    importance = find_importance(study_of(trials, *overrides), settings_for(*overrides))
    assert importance.unvaried == (RATE,)
    assert RATE not in dict(importance.shares)
    assert importance.by_model
    (line,) = [line for line in say(importance) if "cannot be told" in line]
    assert line.startswith(f"How much {RATE} mattered")


@given(seed=st.integers(0, 10_000), count=st.integers(20, 60))
@settings(max_examples=50, deadline=None)
def test_a_range_that_was_searched_at_random_has_varied(seed: int, count: int) -> None:
    rng = random.Random(seed)
    domain = FloatRange(1e-4, 1.0, log=True)
    values = [SearchedParameter("lr", domain, domain.sample(rng)) for _ in range(count)]
    assert not hardly_varied(values)
    narrow = [SearchedParameter("lr", domain, 0.1 * rng.uniform(1, 2)) for _ in range(count)]
    assert hardly_varied(narrow)


def test_a_choice_that_most_trials_have_has_hardly_varied() -> None:
    domain = Choices(("sgd", "adamw"))

    def hardly(counts: tuple[int, int]) -> bool:
        values = ["sgd"] * counts[0] + ["adamw"] * counts[1]
        return hardly_varied([SearchedParameter("optimizer", domain, value) for value in values])

    assert hardly((18, 2))
    assert not hardly((11, 9))
