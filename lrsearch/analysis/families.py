"""Which scheduler family wins when all are tuned equally."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.registry import ComponentConfig
from lrsearch.states import Outcome
from lrsearch.text.formatting import listed, number, plural

LEAST_TRIES = 3
_TRIED = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)
_ADAPTIVE = ("tpe", "gp", "cmaes")


@dataclass(frozen=True)
class Family:
    """Results of one scheduler family."""

    name: str
    tries: int
    """Number of ended trials, without failed and crashed ones."""
    epochs: float
    """Epochs trained by all its trials."""
    values: tuple[float, ...]
    """Values of the complete trials, the best first."""
    expected: float | None
    """Expected best at `Families.share`; None with too few tries."""
    spread: float | None
    """Standard deviation of that best."""

    @property
    def quartiles(self) -> tuple[float, float, float] | None:
        """Lower quartile, median and upper quartile of the complete trials."""
        if not self.values:
            return None
        low, middle, high = np.quantile(self.values, [0.25, 0.5, 0.75])
        return float(low), float(middle), float(high)


@dataclass(frozen=True)
class Families:
    """All families, the best at equal tuning first; those with too few tries last."""

    metric: str
    rows: tuple[Family, ...]
    equal_tries: int | None
    """Of each family that is compared; None where there is nothing to compare."""
    sampler: str
    balanced: bool = False
    """The families were given the same epochs (`study.balance=families`): each is judged by half
    of its own tries, which took about as many epochs as half of another's."""
    untried: tuple[str, ...] = ()
    """Families of the space without a try."""

    @property
    def share(self) -> str:
        """The tuning budget at which the families are compared, in words."""
        return "equal epochs" if self.balanced else f"{self.equal_tries} tries"

    @property
    def compared(self) -> tuple[Family, ...]:
        """Families with enough tries to be compared."""
        return tuple(row for row in self.rows if row.expected is not None)

    def sentences(self) -> list[str]:
        """Return the finding in plain sentences."""
        if not self.rows:
            return ["No trial has ended yet, so no scheduler families can be compared."]
        lines = self._compared()
        if self.untried:
            lines.append(
                f"In the space, but never tried: {listed(self.untried)}. Nothing is known of "
                f"{'it' if len(self.untried) == 1 else 'them'}; study.balance=families gives each "
                f"family its share."
            )
        return lines

    def _compared(self) -> list[str]:
        if len(self.rows) == 1:
            only = self.rows[0]
            return [
                f"Only {only.name} was tried ({plural(only.tries, 'trial')}): "
                f"there is nothing to compare."
            ]
        left_out = [f"{row.name} ({row.tries})" for row in self.rows if row.tries < LEAST_TRIES]
        short = (
            [f"Too few tries to compare (fewer than {LEAST_TRIES}): {listed(left_out)}."]
            if left_out
            else []
        )
        if len(self.compared) < 2:
            return [f"No winner can be named: {self._why_none()}.", *short]
        return [*self._verdict(), *self._fairness(), *short]

    def _why_none(self) -> str:
        enough = [f"{row.name} ({row.tries})" for row in self.rows if row.tries >= LEAST_TRIES]
        if len(enough) > 1:
            return "no trial has run to its end"
        who = f"only {enough[0]}" if enough else "no family"
        return f"{who} has had the {LEAST_TRIES} tries that it takes"

    def _verdict(self) -> list[str]:
        first, second = self.compared[:2]
        assert first.expected is not None
        assert second.expected is not None
        lead = abs(first.expected - second.expected)
        spread = math.hypot(first.spread or 0.0, second.spread or 0.0)
        many = [row for row in self.compared if _within(row, first)]
        lines = [
            f"At equal tuning ({self.share}{'' if self.balanced else ' each'}) {first.name} comes "
            f"first: an expected best {self.metric} of "
            f"{number(first.expected)} (± {number(first.spread or 0.0, 2)}), before {second.name} "
            f"with {number(second.expected)} (± {number(second.spread or 0.0, 2)})."
        ]
        if lead <= spread:
            names = listed([row.name for row in many])
            lines.append(
                f"That lead is within the spread: {names} cannot be told apart by these trials."
            )
        else:
            lines.append("That lead is larger than the spread of the two.")
        return lines

    def _fairness(self) -> list[str]:
        tries = [row.tries for row in self.compared]
        lines = []
        if self.balanced:
            epochs = [row.epochs for row in self.compared]
            lines.append(
                f"The families were given the same epochs ({_span(epochs)}), which bought "
                f"{_span(tries)} tries: more where trials were pruned. Each is judged by the best "
                f"to be expected of half of its tries."
            )
        elif max(tries) != min(tries):
            lines.append(
                f"The families had {_span(tries)} tries; so that none wins by "
                f"being tried more often, each is judged by the best to be expected of "
                f"{self.equal_tries}."
            )
        if self.sampler in _ADAPTIVE:
            better = "sampler=random" + ("" if self.balanced else " with study.balance=families")
            lines.append(
                f"The {self.sampler} sampler tries good regions more often, so tries are not "
                f"independent and this is approximate: {better} compares more strictly."
            )
        return lines


def _within(row: Family, first: Family) -> bool:
    if row.expected is None or first.expected is None:
        return False
    return abs(row.expected - first.expected) <= math.hypot(row.spread or 0.0, first.spread or 0.0)


def expected_best(
    values: Sequence[float], tries: int, mode: Literal["min", "max"]
) -> tuple[float, float]:
    """Return mean and standard deviation of the best of some tries, drawn from `values`.

    The order statistic of the empirical distribution: with values from worst to best, the i-th of
    n is the best of k tries with probability (i/n)^k - ((i-1)/n)^k. Dodge et al. 2019, "Show Your
    Work: Improved Reporting of Experimental Results".
    """
    ordered = np.sort(np.asarray(values, float))
    if mode == "min":
        ordered = ordered[::-1]
    chances = np.diff((np.arange(len(ordered) + 1) / len(ordered)) ** tries)
    mean = float(chances @ ordered)
    return mean, math.sqrt(max(0.0, float(chances @ (ordered - mean) ** 2)))


def compare_families(study: StudyData, searched: Sequence[str] = ()) -> Families:
    """The scheduler families of a study, compared at half the tries of the least tried.

    Where they share the epochs, at half of each family's own tries. `searched` are the families of
    the space.
    """
    groups: dict[str, list[TrialData]] = defaultdict(list)
    for trial in study.trials:
        if trial.recipe is not None and trial.outcome in _TRIED:
            groups[trial.recipe.scheduler.name].append(trial)
    enough = [len(group) for group in groups.values() if len(group) >= LEAST_TRIES]
    # Half of them, since n tries do not show the spread of the best of n.
    equal = -(-min(enough) // 2) if len(enough) > 1 and study.ranked else None
    mode = study.metric.mode
    balanced = study.config["study"].get("balance") == "families"
    rows = [
        _family(name, group, study, -(-len(group) // 2) if equal and balanced else equal)
        for name, group in groups.items()
    ]
    sign = 1.0 if mode == "min" else -1.0
    rows.sort(
        key=lambda row: (
            row.expected is None,
            sign * (row.expected or 0.0),
            sign * row.values[0] if row.values else math.inf,
        )
    )
    sampler = ComponentConfig.from_dict(study.config["sampler"]).name
    untried = tuple(name for name in searched if name not in groups)
    return Families(study.metric.name, tuple(rows), equal, sampler, balanced, untried)


def _family(name: str, trials: list[TrialData], study: StudyData, equal: int | None) -> Family:
    mode = study.metric.mode
    values = sorted(
        (trial.value for trial in trials if trial.is_complete and trial.value is not None),
        reverse=mode == "max",
    )
    expected, spread = None, None
    if equal is not None and len(trials) >= LEAST_TRIES:
        expected, spread = expected_best(_all_values(trials, study), equal, mode)
    epochs = sum(trial.curve[-1].epoch for trial in trials if trial.curve)
    return Family(name, len(trials), epochs, tuple(values), expected, spread)


def _all_values(trials: list[TrialData], study: StudyData) -> list[float]:
    """Return a value for each try: of a pruned one the last, at worst that of a complete one.

    Tries that diverged or ran out of memory get the worst complete value. So pruning bad trials
    does not improve a family, and a single huge loss does not outweigh all others.
    """
    worst = study.by_value[-1].value
    assert worst is not None
    limit = min if study.metric.mode == "min" else max
    return [
        limit(trial.value, worst)
        if trial.outcome in (Outcome.COMPLETE, Outcome.PRUNED) and trial.value is not None
        else worst
        for trial in trials
    ]


def _span(values: Sequence[float]) -> str:
    """`4`, or `4 to 6` where they differ as they are shown."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"
