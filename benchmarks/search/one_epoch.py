"""Baseline: train many settings for one epoch, and the best of them to the end."""

from __future__ import annotations

import random

from problems import Problem, regret, sampled

from lrsearch.seeds import derived_seed

_EXPLORED = 0.5
"""Share of the budget that is spent on first epochs."""


def one_epoch(problem: Problem, seed: int, epochs: int) -> float | None:
    """Return the regret after `epochs`; the best trainings continue from their first epoch."""
    rng = random.Random(derived_seed("one epoch", seed))
    tried = [problem.curve(*sampled(problem.space, rng)) for _ in range(int(_EXPLORED * epochs))]
    tried = [curve for curve in tried if curve.values]
    tried.sort(key=lambda curve: curve.values[0])
    whole = int((epochs - len(tried)) / (problem.evaluations - 1))
    finals = [curve.values[-1] for curve in tried[:whole] if not curve.diverged]
    return regret(problem, min(finals)) if finals else None
