"""Which scheduler, and which optimizer, is best when all are tuned equally."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lrsearch.analysis.equal_tuning import Interval, compare, expected_best
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.measures import has_listed_loss, limits
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.settings import MetricSettings
from lrsearch.states import Outcome

LEAST_TRIES = 3
_TRIED = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)

ALL = "all optimizers"

Noun = Literal["scheduler", "optimizer"]


@dataclass(frozen=True)
class Option:
    """A scheduler or an optimizer, and the results of its trials."""

    name: str
    tries: int
    """Number of ended trials, without failed and crashed ones."""
    epochs: float
    """Epochs trained by all its trials."""
    values: tuple[float, ...]
    """Values of the complete trials, the best first."""
    expected: Interval | None = None
    """Expected best at equal tuning; None with too few tries."""
    behind: Interval | None = None
    """How much worse that is than the expected best of the first option."""
    probability: float | None = None
    """Of being the best of the compared options."""
    may_be_best: bool = False
    """Whether it is among the likeliest, of which one is the best almost surely."""

    @property
    def quartiles(self) -> tuple[float, float, float] | None:
        """Lower quartile, median and upper quartile of the complete trials."""
        if not self.values:
            return None
        low, middle, high = np.quantile(self.values, [0.25, 0.5, 0.75])
        return float(low), float(middle), float(high)


@dataclass(frozen=True)
class Comparison:
    """Options that are compared with one another, the best first; those with few tries last."""

    noun: Noun
    metric: MetricSettings
    within: str | None
    """The optimizer whose schedulers are compared; None where there is one, or of optimizers.

    ALL for schedulers that are compared over all optimizers.
    """
    options: tuple[Option, ...]
    tries: int | None
    """Tries of which the best is expected; None where there is nothing to compare."""
    balanced: bool = False
    """The options were given the same epochs: each is judged by half of its own tries, which took
    about as many epochs as half of another's."""
    over_seeds: bool = False
    """Whether recipes were trained with several seeds, which the intervals are then over, too."""

    @property
    def compared(self) -> tuple[Option, ...]:
        """Options with enough tries to be compared."""
        return tuple(option for option in self.options if option.expected is not None)

    @property
    def contenders(self) -> tuple[Option, ...]:
        """The likeliest options, of which one is the best almost surely; the likeliest first."""
        likely = [option for option in self.compared if option.may_be_best]
        return tuple(sorted(likely, key=lambda option: -(option.probability or 0.0)))

    @property
    def winner(self) -> Option | None:
        """The option that is clearly better than all others; None without one."""
        return self.contenders[0] if len(self.contenders) == 1 < len(self.compared) else None


@dataclass(frozen=True)
class Cell:
    """The trials with one optimizer and one scheduler."""

    optimizer: str
    scheduler: str
    tries: int
    expected: float
    """Expected best of `EqualTuning.tries_of_cells` trials, or of all where there are fewer."""


@dataclass(frozen=True)
class EqualTuning:
    """Comparisons at equal tuning: of optimizers, or of schedulers within each optimizer."""

    noun: Noun
    metric: MetricSettings
    comparisons: tuple[Comparison, ...]
    """By name of the optimizer; empty before any trial has ended."""
    sampler: str | None = None
    """The sampler, where it chose trials by the values of earlier ones, so that they are not
    independent, and the comparisons approximate."""
    untried: tuple[str, ...] = ()
    """Options of the space without a try."""
    cells: tuple[Cell, ...] = ()
    """Of optimizers, by optimizer and scheduler."""
    tries_of_cells: int = 0

    @property
    def compared(self) -> tuple[Comparison, ...]:
        """Comparisons of at least two options."""
        return tuple(each for each in self.comparisons if len(each.compared) > 1)

    @property
    def not_compared(self) -> tuple[Comparison, ...]:
        """The other comparisons."""
        return tuple(each for each in self.comparisons if len(each.compared) < 2)


def compare_schedulers(
    study: StudyData, forecast: Mapping[int, float], searched: Sequence[str] = ()
) -> EqualTuning:
    """Compare the schedulers of each optimizer.

    `forecast` are the values that pruned trials would have reached, by trial number; `searched` are
    the schedulers of the space. Where the trials of no optimizer are enough, compare over all
    optimizers, provided that each scheduler was tried equally often with each.
    """
    tried = _tried(study)
    balanced = study.config["study"].get("balance") == "families"
    by_optimizer: dict[str, list[TrialData]] = defaultdict(list)
    for trial, recipe in tried:
        by_optimizer[recipe.optimizer.name].append(trial)
    values = _values(study, forecast)
    grouped = {name: _grouped(by_optimizer[name], "scheduler") for name in sorted(by_optimizer)}
    comparisons = [
        _comparison(
            "scheduler", name if len(grouped) > 1 else None, groups, study, values, balanced
        )
        for name, groups in grouped.items()
    ]
    if len(grouped) > 1 and _is_even(grouped) and not any(each.compared for each in comparisons):
        groups = _grouped([trial for trial, _ in tried], "scheduler")
        comparisons = [_comparison("scheduler", ALL, groups, study, values, balanced)]
    return EqualTuning(
        "scheduler",
        study.metric,
        tuple(comparisons),
        study.adaptive_sampler,
        _untried(searched, (recipe.scheduler.name for _, recipe in tried)),
    )


def _is_even(grouped: Mapping[str, Mapping[str, Sequence[TrialData]]]) -> bool:
    """Whether each scheduler was tried as often with each optimizer, give or take one trial."""
    schedulers = {scheduler for groups in grouped.values() for scheduler in groups}
    counts = [
        len(groups.get(scheduler, ())) for groups in grouped.values() for scheduler in schedulers
    ]
    return max(counts) - min(counts) <= 1


def compare_optimizers(
    study: StudyData, forecast: Mapping[int, float], searched: Sequence[str] = ()
) -> EqualTuning | None:
    """Compare the optimizers over all their schedulers; None where there is one alone.

    `forecast` and `searched` are those of `compare_schedulers`, the latter of optimizers.
    """
    tried = _tried(study)
    names = {recipe.optimizer.name for _, recipe in tried}
    if len(names.union(searched)) < 2:
        return None
    values = _values(study, forecast)
    groups = _grouped([trial for trial, _ in tried], "optimizer")
    found = EqualTuning(
        "optimizer",
        study.metric,
        (_comparison("optimizer", None, groups, study, values, False),) if groups else (),
        study.adaptive_sampler,
        _untried(searched, names),
    )
    return _with_cells(found, groups, values) if values else found


def _with_cells(
    found: EqualTuning, groups: Mapping[str, list[TrialData]], values: Mapping[int, float]
) -> EqualTuning:
    """Add the expected best of each optimizer with each scheduler."""
    trials = {
        (optimizer, scheduler): [values[trial.number] for trial in of_cell]
        for optimizer, of_optimizer in groups.items()
        for scheduler, of_cell in _grouped(of_optimizer, "scheduler").items()
    }
    repeated = [len(of_cell) for of_cell in trials.values() if len(of_cell) > 1]
    tries = min(repeated, default=1)
    cells = tuple(
        Cell(
            optimizer,
            scheduler,
            len(of_cell),
            expected_best(of_cell, min(tries, len(of_cell)), found.metric.mode),
        )
        for (optimizer, scheduler), of_cell in sorted(trials.items())
    )
    return replace(found, cells=cells, tries_of_cells=tries)


def _tried(study: StudyData) -> list[tuple[TrialData, Recipe]]:
    return [
        (trial, trial.recipe)
        for trial in study.trials
        if trial.recipe is not None and trial.outcome in _TRIED
    ]


def _grouped(trials: Iterable[TrialData], noun: Noun) -> dict[str, list[TrialData]]:
    groups: dict[str, list[TrialData]] = defaultdict(list)
    for trial in trials:
        assert trial.recipe is not None
        component: ComponentConfig = getattr(trial.recipe, noun)
        groups[component.name].append(trial)
    return groups


def _untried(searched: Sequence[str], tried: Iterable[str]) -> tuple[str, ...]:
    known = set(tried)
    return tuple(name for name in searched if name not in known)


def _comparison(
    noun: Noun,
    within: str | None,
    groups: Mapping[str, list[TrialData]],
    study: StudyData,
    values: Mapping[int, float],
    balanced: bool,
) -> Comparison:
    """Compare options at half the tries of the least tried; where balanced, of its own."""
    mode = study.metric.mode
    sign = 1.0 if mode == "min" else -1.0
    samples = {name: _by_recipe(trials, values) for name, trials in groups.items()}
    counts = {name: len(of) for name, of in samples.items() if len(of) >= LEAST_TRIES}
    options = [
        Option(
            name,
            len(trials),
            sum(trial.curve[-1].epoch for trial in trials if trial.curve),
            tuple(sorted((trial.value or 0.0 for trial in trials if trial.is_complete),
                         key=lambda value: sign * value)),
        )
        for name, trials in groups.items()
    ]  # fmt: skip
    over_seeds = bool(values) and any(len(samples[name]) < len(groups[name]) for name in groups)
    tries = None
    if len(counts) > 1:
        tries = _half(min(counts.values()))
        own = {name: _half(count) if balanced else tries for name, count in counts.items()}
        least, most = limits(study.metric.name, values.values(), has_listed_loss(study.config))
        places = compare({name: samples[name] for name in counts}, own, mode)
        options = [
            replace(
                option,
                expected=place.expected.within(least, most),
                behind=place.behind.within(least - most, most - least),
                probability=place.probability,
                may_be_best=place.may_be_best,
            )
            if (place := places.get(option.name))
            else option
            for option in options
        ]
    options.sort(
        key=lambda option: (
            option.expected is None,
            sign * option.expected.value if option.expected else 0.0,
            sign * option.values[0] if option.values else math.inf,
            option.name,
        )
    )
    return Comparison(noun, study.metric, within, tuple(options), tries, balanced, over_seeds)


def _half(tries: int) -> int:
    """Return half of some tries: all of them do not show how the best of as many would vary.

    At least two: one would be judged by the mean, which a single bad value moves.
    """
    return max(2, tries // 2)


def _by_recipe(trials: Iterable[TrialData], values: Mapping[int, float]) -> list[float]:
    """Return a value for each recipe: the mean over its seeds where it has several."""
    recipes: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        assert trial.recipe is not None
        if trial.number in values:
            key = json.dumps(trial.recipe.to_dict(), sort_keys=True)
            recipes[key].append(values[trial.number])
    return [math.fsum(of_recipe) / len(of_recipe) for of_recipe in recipes.values()]


def _values(study: StudyData, forecast: Mapping[int, float]) -> dict[int, float]:
    """Return a value for each try by trial number; none where no trial is complete.

    A pruned trial counts as no better than its forecast. One that diverged, ran out of memory or
    cannot be forecast counts as the worst complete one, so that a single huge loss does not
    outweigh all others.
    """
    if not study.by_value:
        return {}
    worst = study.by_value[-1].value
    assert worst is not None
    limit = min if study.metric.mode == "min" else max
    return {
        trial.number: trial.value
        if trial.is_complete and trial.value is not None
        else limit(forecast.get(trial.number, worst), worst)
        for trial, _ in _tried(study)
    }
