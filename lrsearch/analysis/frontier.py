"""Learning rates at which training diverged or learned nothing, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from lrsearch.analysis.learned import learned_nothing
from lrsearch.analysis.parameters import searched_parameters
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.space.names import ParameterName
from lrsearch.states import Outcome

_BEYOND = 1.1


@dataclass(frozen=True)
class Border:
    """Border of divergence of one optimizer at one batch size."""

    optimizer: str
    batch_size: int
    diverged: int
    trials: int
    """Number of trials that completed, were pruned or diverged."""
    lowest_diverged: float | None
    highest_survived: float | None
    """Learning rates. A trial that learned nothing counts as not survived."""


@dataclass(frozen=True)
class Reach:
    """Highest learning rates tried with one optimizer."""

    optimizer: str
    trials: int
    highest: float
    """Highest learning rate tried."""
    learned: float | None
    """Highest learning rate at which a trial learned something; None if none did."""
    nothing: tuple[float, ...]
    """Learning rates that neither diverged nor learned anything, in ascending order."""
    end: float
    """Highest learning rate of the search space."""


@dataclass(frozen=True)
class Frontier:
    """Learning rates at which training fails."""

    borders: tuple[Border, ...]
    diverged: int
    trials: int
    steps: tuple[int, ...]
    """Steps at which trials diverged, in ascending order."""
    out_of_memory: tuple[tuple[int, int], ...]
    """Batch sizes at which memory ran out, and how often."""
    reached: tuple[Reach, ...]
    nothing: frozenset[int]
    """The numbers of the trials that did not diverge, but learned nothing."""

    @property
    def beyond(self) -> tuple[Reach, ...]:
        """The optimizers whose range goes on well beyond the highest rate tried."""
        return tuple(reach for reach in self.reached if reach.end > _BEYOND * reach.highest)


def find_frontier(study: StudyData, settings: Settings) -> Frontier:
    """Find the border of divergence for each optimizer and batch size."""
    groups: dict[tuple[str, int], list[tuple[TrialData, Recipe]]] = defaultdict(list)
    memory: dict[int, int] = defaultdict(int)
    for trial in study.trials:
        if trial.recipe is None:
            continue
        if trial.outcome == Outcome.OUT_OF_MEMORY:
            memory[trial.recipe.batch_size] += 1
        if trial.outcome in (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED):
            key = (trial.recipe.optimizer.name, trial.recipe.batch_size)
            groups[key].append((trial, trial.recipe))
    ended = [pair for group in groups.values() for pair in group]
    nothing = frozenset(
        trial.number
        for trial, _ in ended
        if trial.outcome != Outcome.DIVERGED and learned_nothing(trial, study, settings)
    )
    borders = [_border(*key, groups[key], nothing) for key in sorted(groups)]
    return Frontier(
        borders=tuple(borders),
        diverged=sum(border.diverged for border in borders),
        trials=sum(border.trials for border in borders),
        steps=tuple(
            sorted(
                trial.end_step
                for trial in study.trials
                if trial.outcome == Outcome.DIVERGED and trial.end_step is not None
            )
        ),
        out_of_memory=tuple(sorted(memory.items())),
        reached=_reached(ended, settings, nothing),
        nothing=nothing,
    )


def _reached(
    trials: list[tuple[TrialData, Recipe]], settings: Settings, nothing: Collection[int]
) -> tuple[Reach, ...]:
    recipes: dict[str, list[tuple[TrialData, Recipe]]] = defaultdict(list)
    for trial, recipe in trials:
        recipes[recipe.optimizer.name].append((trial, recipe))
    return tuple(
        Reach(
            optimizer=optimizer,
            trials=len(tried),
            highest=max(recipe.lr for _, recipe in tried),
            learned=max(
                (
                    recipe.lr
                    for trial, recipe in tried
                    if trial.outcome != Outcome.DIVERGED and trial.number not in nothing
                ),
                default=None,
            ),
            nothing=tuple(sorted(recipe.lr for trial, recipe in tried if trial.number in nothing)),
            end=max(_end(recipe, settings) for _, recipe in tried),
        )
        for optimizer, tried in sorted(recipes.items())
    )


def _end(recipe: Recipe, settings: Settings) -> float:
    """Return the highest learning rate of the space, given the rest of a recipe."""
    for parameter in searched_parameters(settings.space, recipe):
        if ParameterName.parse(parameter.name).is_rate:
            # Of a rate that is coupled to the batch size; 1 otherwise.
            scale = recipe.lr / parameter.value if parameter.value else 1.0
            return scale * float(max(parameter.domain.ends()))
    return recipe.lr


def _border(
    optimizer: str,
    batch_size: int,
    trials: list[tuple[TrialData, Recipe]],
    nothing: Collection[int],
) -> Border:
    diverged = [recipe.lr for trial, recipe in trials if trial.outcome == Outcome.DIVERGED]
    survived = [
        recipe.lr
        for trial, recipe in trials
        if trial.outcome != Outcome.DIVERGED and trial.number not in nothing
    ]
    return Border(
        optimizer=optimizer,
        batch_size=batch_size,
        diverged=len(diverged),
        trials=len(trials),
        lowest_diverged=min(diverged, default=None),
        highest_survived=max(survived, default=None),
    )
