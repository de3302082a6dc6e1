"""Where training breaks: which learning rates diverged at which batch size, and when."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.analysis.words import listed, number, percent, plural
from lrsearch.recipe import Recipe
from lrsearch.study.tables import COMPLETE, DIVERGED, OUT_OF_MEMORY, PRUNED


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
    """Learning rates."""


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

    def sentences(self) -> list[str]:
        """In plain words."""
        if not self.trials:
            return ["No trial has ended yet, so where training breaks is not known."]
        lines = self._diverged() if self.diverged else [
            f"None of {plural(self.trials, 'trial')} diverged: the space does not reach to where "
            f"training breaks."
        ]  # fmt: skip
        if self.out_of_memory:
            sizes = [f"{size} ({count}×)" for size, count in self.out_of_memory]
            lines.append(f"Memory ran out at batch size {listed(sizes)}.")
        return lines

    def _diverged(self) -> list[str]:
        lines = [
            f"{self.diverged} of {plural(self.trials, 'trial')} diverged "
            f"({percent(self.diverged / self.trials)})."
        ]
        if self.steps:
            lines[0] = lines[0][:-1] + (
                f", half of them by step {number(float(np.median(self.steps)))}, the last at step "
                f"{number(self.steps[-1])}."
            )
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


def find_frontier(study: StudyData) -> Frontier:
    """The borders of divergence, of each optimizer and batch size apart."""
    groups: dict[tuple[str, int], list[tuple[TrialData, Recipe]]] = defaultdict(list)
    memory: dict[int, int] = defaultdict(int)
    for trial in study.trials:
        if trial.recipe is None:
            continue
        if trial.outcome == OUT_OF_MEMORY:
            memory[trial.recipe.batch_size] += 1
        if trial.outcome in (COMPLETE, PRUNED, DIVERGED):
            key = (trial.recipe.optimizer.name, trial.recipe.batch_size)
            groups[key].append((trial, trial.recipe))
    borders = [_border(*key, groups[key]) for key in sorted(groups)]
    return Frontier(
        borders=tuple(borders),
        diverged=sum(border.diverged for border in borders),
        trials=sum(border.trials for border in borders),
        steps=tuple(
            sorted(
                trial.end_step
                for trial in study.trials
                if trial.outcome == DIVERGED and trial.end_step is not None
            )
        ),
        out_of_memory=tuple(sorted(memory.items())),
    )


def _border(optimizer: str, batch_size: int, trials: list[tuple[TrialData, Recipe]]) -> Border:
    diverged = [recipe.lr for trial, recipe in trials if trial.outcome == DIVERGED]
    survived = [recipe.lr for trial, recipe in trials if trial.outcome != DIVERGED]
    return Border(
        optimizer=optimizer,
        batch_size=batch_size,
        diverged=len(diverged),
        trials=len(trials),
        lowest_diverged=min(diverged, default=None),
        highest_survived=max(survived, default=None),
    )
