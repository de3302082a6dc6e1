"""Comparison of the runs: whether all trained the same, and how long each took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy
from task import RECIPES, Task, Trial

RESAMPLES = 10_000
BUSY = 1.2
"""Ratio of the slowest to the fastest round of bare above which the machine was busy."""
_VERDICTS = {True: "met", False: "NOT MET", None: "not judged"}
# Allowed differences of validation losses, relative to bare's. Seeds alone change the mean over the
# recipes by 1 to 2 per cent and a single recipe by a tenth; a scheduler that is not stepped, by far
# more. Optuna's and Ray's styles run in few rounds, so that chance changes them more.
MEAN_TOLERANCE = {"lrsearch": 0.05, "optuna": 0.10, "ray": 0.10}
RECIPE_TOLERANCE = {"lrsearch": 0.35, "optuna": 0.60, "ray": 0.60}


@dataclass(frozen=True)
class Run:
    """One run of a contestant, in seconds."""

    contestant: str
    round: int
    startup: float
    """From the start of the process to the start of the first trial."""
    work: float
    """From the start of the first trial to the end of the last one."""
    total: float
    """The whole life of the process."""
    cpu: float
    """Processor time of the process and its finished children, without Ray's daemons.

    It hardly depends on what else runs on the machine: a cross-check of `work` on a busy one.
    """
    trials: list[Trial]


Measure = Callable[[Run], float]


def _work(run: Run) -> float:
    return run.work


def _total(run: Run) -> float:
    return run.total


def _cpu(run: Run) -> float:
    return run.cpu


def _startup(run: Run) -> float:
    return run.startup


@dataclass(frozen=True)
class Result:
    """A figure with its 95 % interval and the goal for it, if there is one."""

    name: str
    value: float
    low: float
    high: float
    rounds: int
    unit: str
    goal: str | None = None
    met: bool | None = None


def differences(runs: Sequence[Run], task: Task) -> list[str]:
    """Return a line for each difference of the contestants' trainings; empty for none."""
    problems = []
    for run in runs:
        who = f"{run.contestant}, round {run.round + 1}"
        if Counter(trial.recipe for trial in run.trials) != Counter(range(len(RECIPES))):
            problems.append(f"{who}: not each recipe once: {[t.recipe for t in run.trials]}")
        problems += [
            f"{who}: {RECIPES[trial.recipe]} had {trial.steps} steps, "
            f"not {task.steps(RECIPES[trial.recipe])}"
            for trial in run.trials
            if trial.steps != task.steps(RECIPES[trial.recipe])
        ]
    if problems:
        return problems  # losses of other recipes cannot be compared
    bare = _losses(runs, "bare")
    for name, tolerance in MEAN_TOLERANCE.items():
        if not any(run.contestant == name for run in runs):
            continue
        losses = _losses(runs, name)
        # `not <=` catches losses that are not numbers, too.
        if not abs(_off(fmean(losses), fmean(bare))) <= tolerance:
            problems.append(f"{name}: mean loss {fmean(losses):.4f}, bare {fmean(bare):.4f}")
        problems += [
            f"{name}: {recipe} ends at a loss of {loss:.4f}, bare at {mark:.4f}"
            for recipe, loss, mark in zip(RECIPES, losses, bare, strict=True)
            if not abs(_off(loss, mark)) <= RECIPE_TOLERANCE[name]
        ]
    return problems


def _losses(runs: Sequence[Run], name: str) -> list[float]:
    """Return the last validation loss of each recipe, averaged over a contestant's rounds."""
    trials = [trial for run in runs if run.contestant == name for trial in run.trials]
    return [
        fmean(trial.validation_loss for trial in trials if trial.recipe == index)
        for index in range(len(RECIPES))
    ]


def _off(value: float, mark: float) -> float:
    return value / mark - 1


def summary(runs: Sequence[Run]) -> list[Result]:
    """Return all figures, those with goals first."""
    by_round = {(run.contestant, run.round): run for run in runs}
    there = {run.contestant for run in runs}

    def pairs(a: str, b: str) -> list[tuple[Run, Run]]:
        rounds = sorted(number for name, number in by_round if name == a)
        both = [(by_round[a, k], by_round[b, k]) for k in rounds if (b, k) in by_round]
        return both if {a, b} <= there else []

    def ratio(a: str, b: str, of: Measure) -> list[float]:
        return [of(one) / of(other) for one, other in pairs(a, b)]

    extra_startup = [one.startup - other.startup for one, other in pairs("lrsearch", "bare")]
    noisy = is_busy(runs)
    results = [
        _result("work, lrsearch / bare", ratio("lrsearch", "bare", _work), "×", at_most=1.05),
        _result("start-up, lrsearch − bare", extra_startup, "s", at_most=3.0),
        _result("work, optuna / lrsearch", ratio("optuna", "lrsearch", _work), "×", at_least=2.4),
        _result("work, ray / lrsearch", ratio("ray", "lrsearch", _work), "×", at_least=3.5),
    ]
    results += [
        _result(f"{what}, {name} / bare", ratio(name, "bare", of), "×")
        for what, of in (("work", _work), ("total", _total))
        for name in ("lrsearch", "optuna", "ray")
        if (what, name) != ("work", "lrsearch")
    ]
    results.append(_result("processor time, lrsearch / bare", ratio("lrsearch", "bare", _cpu), "×"))
    results += [
        _result(f"{what}, {name}", [of(run) for run in runs if run.contestant == name], "s")
        for what, of in (("start-up", _startup), ("work", _work), ("total", _total))
        for name in ("bare", "lrsearch", "optuna", "ray")
    ]
    if noisy:  # a ratio by chance neither meets a goal nor misses it
        results = [replace(result, met=None) for result in results]
    return [result for result in results if result.rounds]


def _result(
    name: str,
    values: list[float],
    unit: str,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Result:
    """Compare the median over the rounds with the goal."""
    if not values:
        return Result(name, math.nan, math.nan, math.nan, 0, unit)
    value, (low, high) = median(values), _interval(values)
    goal, met = None, None
    if at_most is not None:
        goal, met = f"≤ {at_most:g} {unit}", value <= at_most
    elif at_least is not None:
        goal, met = f"≥ {at_least:g} {unit}", value >= at_least
    return Result(name, value, low, high, len(values), unit, goal, met)


def _interval(values: list[float]) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of the median."""
    generator = numpy.random.default_rng(0)
    samples = generator.choice(values, (RESAMPLES, len(values)))
    low, high = numpy.percentile(numpy.median(samples, axis=1), [2.5, 97.5])
    return float(low), float(high)


def table(
    results: Sequence[Result], runs: Sequence[Run], machine: dict[str, str | int | float]
) -> str:
    """Format all results as text."""
    lines = ["", ", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    lines.append(f"{'median over rounds':31} {'':>8}   {'95 % interval':18} {'rounds':>6}  goal")
    for one in results:
        interval = f"{one.low:.3f} to {one.high:.3f}" if one.rounds > 1 else "–"
        verdict = "" if one.goal is None else f"{one.goal}: {_VERDICTS[one.met]}"
        line = f"{one.name:31} {one.value:8.3f} {one.unit} {interval:18} {one.rounds:6}  {verdict}"
        lines.append(line.rstrip())
    if is_busy(runs):
        work = _bare_work(runs)
        lines.append(
            f"\nWARNING: bare itself took from {min(work):.1f} to {max(work):.1f} s: something "
            f"else used the machine. Nothing is judged; run it again on a quiet one."
        )
    return "\n".join(lines)


def is_busy(runs: Sequence[Run]) -> bool:
    """Return whether the rounds of bare differ too much for ratios to be trusted."""
    work = _bare_work(runs)
    return max(work) > BUSY * min(work)


def _bare_work(runs: Sequence[Run]) -> list[float]:
    return [run.work for run in runs if run.contestant == "bare"]
