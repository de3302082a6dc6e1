"""Where training breaks: which learning rates diverged, or learned nothing, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from lrsearch.analysis.learned import learned_nothing
from lrsearch.analysis.parameters import asked
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.config.settings import Settings
from lrsearch.formatting import listed, number, percent, plural
from lrsearch.recipe import Recipe
from lrsearch.space.names import ParameterName
from lrsearch.states import Outcome

_BEYOND = 1.1


@dataclass(frozen=True)
class Border:
    """The border for one optimizer at one batch size."""

    optimizer: str
    batch_size: int
    diverged: int
    trials: int
    """That ended by themselves: complete, pruned or diverged."""
    lowest_diverged: float | None
    highest_survived: float | None
    """Learning rates; one that learned nothing has not survived."""


@dataclass(frozen=True)
class Reach:
    """How far up the learning rates of one optimizer were tried."""

    optimizer: str
    trials: int
    highest: float
    """Tried."""
    learned: float | None
    """The highest that learned something."""
    nothing: tuple[float, ...]
    """Those that did not diverge, but learned nothing, in order."""
    end: float
    """The highest of the space."""


@dataclass(frozen=True)
class Frontier:
    """Where training breaks."""

    borders: tuple[Border, ...]
    diverged: int
    trials: int
    steps: tuple[int, ...]
    """At which the trials diverged, in order."""
    out_of_memory: tuple[tuple[int, int], ...]
    """Batch sizes at which memory ran out, and how often."""
    reached: tuple[Reach, ...]
    nothing: frozenset[int]
    """The numbers of the trials that did not diverge, but learned nothing."""

    def sentences(self) -> list[str]:
        """In plain words."""
        if not self.trials and not self.out_of_memory:
            return ["No trial has ended yet, so where training breaks is not known."]
        lines = self._diverged() if self.diverged else []
        if self.trials and not self.diverged:
            lines += self._none_diverged()
        elif self.nothing:
            lines.append(f"{plural(len(self.nothing), 'further trial')} {self._learned_nothing()}")
        if self.out_of_memory:
            sizes = [f"{size} ({count}×)" for size, count in self.out_of_memory]
            lines.append(f"Memory ran out at batch size {listed(sizes)}.")
        return lines

    def _learned_nothing(self) -> str:
        """How, and at which rates."""
        where = [
            f"{_span(one.nothing)} with {one.optimizer} ({plural(len(one.nothing), 'trial')})"
            for one in self.reached
            if one.nothing
        ]
        return (
            f"learned nothing, ending no better than by guessing or than at the first "
            f"evaluation: at learning rates of {listed(where)}."
        )

    def _some_learned_nothing(self) -> list[str]:
        """Where none diverged."""
        learned = [
            f"{number(one.learned, 2)} with {one.optimizer}"
            for one in self.reached
            if one.learned is not None
        ]
        lines = [
            f"None of {plural(self.trials, 'trial')} diverged, but {len(self.nothing)} "
            f"{self._learned_nothing()}"
        ]
        if learned:
            lines.append(f"The highest learning rate that learned something: {listed(learned)}.")
        return lines

    def _none_diverged(self) -> list[str]:
        tried = [
            f"{number(one.highest, 2)} with {one.optimizer} ({plural(one.trials, 'trial')})"
            for one in self.reached
        ]
        beyond = [
            f"with {one.optimizer} to {number(one.end, 2)}, {number(one.end / one.highest, 2)} "
            f"times as far"
            for one in self.reached
            if one.end > _BEYOND * one.highest
        ]
        if self.nothing:
            lines = self._some_learned_nothing()
        else:
            lines = [
                f"None of {plural(self.trials, 'trial')} diverged, up to the highest learning rate "
                f"tried: {listed(tried)}."
            ]
        if beyond:
            lines.append(
                f"The space goes on beyond that ({listed(beyond)}): whether training breaks there "
                f"is not known."
            )
        elif not self.nothing:
            lines.append("That is the end of the space: to see training break takes a wider one.")
        return lines

    def _diverged(self) -> list[str]:
        lines = [
            f"{self.diverged} of {plural(self.trials, 'trial')} diverged "
            f"({percent(self.diverged / self.trials)})."
        ]
        if self.steps:
            first, last = self.steps[0], self.steps[-1]
            when = f"half of them by step {number(float(np.median(self.steps)))}, the last at step"
            lines[0] = lines[0][:-1] + f", {when if last > first else 'at step'} {number(last)}."
        for border in self.borders:
            if border.lowest_diverged is None:
                continue
            text = (
                f"{border.optimizer} at batch size {border.batch_size}: the smallest learning rate "
                f"that diverged is {number(border.lowest_diverged, 2)}"
            )
            if border.highest_survived is None:
                text += "; none survived"
            elif border.highest_survived < border.lowest_diverged:
                text += f", the largest that survived {number(border.highest_survived, 2)}"
            else:
                text += (
                    f", but {number(border.highest_survived, 2)} survived with other parameters: "
                    f"the rate alone does not decide"
                )
            lines.append(f"{text} ({border.diverged} of {plural(border.trials, 'trial')}).")
        return lines


def find_frontier(study: StudyData, settings: Settings) -> Frontier:
    """The borders of divergence, of each optimizer and batch size apart."""
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


def _span(rates: Sequence[float]) -> str:
    ends = dict.fromkeys(number(rate, 2) for rate in (rates[0], rates[-1]))
    return " to ".join(ends)


def _reached(
    trials: list[tuple[TrialData, Recipe]], settings: Settings, nothing: Collection[int]
) -> tuple[Reach, ...]:
    recipes: dict[str, list[tuple[TrialData, Recipe]]] = defaultdict(list)
    for trial, recipe in trials:
        recipes[recipe.optimizer.name].append((trial, recipe))
    return tuple(
        Reach(
            optimizer=optimizer,
            trials=len(mine),
            highest=max(recipe.lr for _, recipe in mine),
            learned=max(
                (
                    recipe.lr
                    for trial, recipe in mine
                    if trial.outcome != Outcome.DIVERGED and trial.number not in nothing
                ),
                default=None,
            ),
            nothing=tuple(sorted(recipe.lr for trial, recipe in mine if trial.number in nothing)),
            end=max(_end(recipe, settings) for _, recipe in mine),
        )
        for optimizer, mine in sorted(recipes.items())
    )


def _end(recipe: Recipe, settings: Settings) -> float:
    """The highest learning rate that the space has for the rest of a recipe."""
    for one in asked(settings.space, recipe):
        if ParameterName.parse(one.name).is_rate:
            scale = recipe.lr / one.value if one.value else 1.0  # of a rate coupled to the batch
            return scale * float(max(one.domain.ends()))
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
