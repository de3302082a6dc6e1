"""How sensitive training is to the learning rate: the width of the good basin."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.recipe import Recipe
from lrsearch.text.formatting import listed, number, plural

TOLERANCE = 0.05
LEAST_COMPLETE = 5
LEAST_GOOD = 3

By = Literal["scheduler", "batch_size"]


@dataclass(frozen=True)
class Basin:
    """The learning rates within 5 % of the best value of one group of trials."""

    optimizer: str
    by: By
    group: str
    """Scheduler name or batch size that the trials share."""
    best: float
    complete: int
    good: int
    """Complete trials within 5 % of the best of the group."""
    low: float
    high: float
    """Least and largest learning rate of the good trials."""
    open_low: bool
    open_high: bool
    """Whether no smaller (larger) rate was tried, so that the basin may extend further."""

    @property
    def width(self) -> float | None:
        """High over low; None where the trials are too few to tell."""
        if self.complete < LEAST_COMPLETE or self.good < LEAST_GOOD:
            return None
        return self.high / self.low

    @property
    def title(self) -> str:
        """Name of the group of trials."""
        what = self.group if self.by == "scheduler" else f"batch size {self.group}"
        return f"{self.optimizer} with {what}"

    def sentence(self) -> str:
        """Return the finding in a plain sentence; the width must be known."""
        least = "at least " if self.open_low or self.open_high else ""
        return (
            f"{self.title}: {least}a factor of {number(self.width or 1.0, 2)} "
            f"wide, learning rates {number(self.low, 2)} to {number(self.high, 2)} "
            f"({self.good} of {plural(self.complete, 'complete trial')})"
        )


@dataclass(frozen=True)
class Basins:
    """Basins per optimizer and scheduler, and per optimizer and batch size."""

    rows: tuple[Basin, ...]
    fixed: float | None
    """The learning rate where all trials had the same one."""

    def sentences(self) -> list[str]:
        """Return the finding in plain sentences."""
        if self.fixed is not None:
            return [
                f"Every trial had the learning rate {number(self.fixed)}: how sensitive training "
                f"is to it is not known."
            ]
        known = [row for row in self.rows if row.width is not None]
        unknown = [row.title for row in self.rows if row.width is None]
        if not known:
            return [
                "Too few trials to tell how wide the good basin is: it takes "
                f"{LEAST_COMPLETE} complete trials of one optimizer and scheduler (or batch "
                f"size), {LEAST_GOOD} of them within 5 % of their best."
            ]
        lines = ["The range of learning rates that came within 5 % of the best of its group:"]
        lines += [f"{row.sentence()}." for row in sorted(known, key=lambda row: -(row.width or 0))]
        if unknown:
            lines.append(f"Too few trials to tell: {listed(unknown)}.")
        lines.append(
            "Other parameters varied, too, so these are rates that can be good, with the rest "
            "chosen well."
        )
        return lines


def find_basins(study: StudyData) -> Basins:
    """Find the learning-rate basins of a study."""
    tried = [(trial, trial.recipe) for trial in study.trials if trial.recipe is not None]
    rates = {recipe.lr for _, recipe in tried}
    rows: list[Basin] = []
    keys: tuple[By, By] = ("scheduler", "batch_size")
    for by in keys:
        groups: dict[tuple[str, str], list[tuple[TrialData, Recipe]]] = defaultdict(list)
        for trial, recipe in tried:
            groups[recipe.optimizer.name, _group(recipe, by)].append((trial, recipe))
        basins = [_basin(by, *key, group, study.metric.mode) for key, group in groups.items()]
        rows += [basin for basin in basins if basin is not None]
    rows.sort(key=lambda row: (row.by != "scheduler", row.optimizer, _natural(row.group)))
    fixed = rates.pop() if len(rates) == 1 else None
    return Basins(tuple(rows), fixed)


def _group(recipe: Recipe, by: By) -> str:
    return recipe.scheduler.name if by == "scheduler" else str(recipe.batch_size)


def _natural(group: str) -> tuple[int, str]:
    return (int(group), "") if group.isdigit() else (0, group)


def _basin(
    by: By,
    optimizer: str,
    group: str,
    trials: list[tuple[TrialData, Recipe]],
    mode: Literal["min", "max"],
) -> Basin | None:
    complete = [
        (trial.value, recipe.lr)
        for trial, recipe in trials
        if trial.is_complete and trial.value is not None
    ]
    if not complete:
        return None
    values = [value for value, _ in complete]
    best = min(values) if mode == "min" else max(values)
    good = [rate for value, rate in complete if abs(value - best) <= TOLERANCE * abs(best)]
    rates = [recipe.lr for _, recipe in trials]
    low, high = min(good), max(good)
    return Basin(
        optimizer=optimizer,
        by=by,
        group=group,
        best=best,
        complete=len(complete),
        good=len(good),
        low=low,
        high=high,
        open_low=low <= min(rates),
        open_high=high >= max(rates),
    )
