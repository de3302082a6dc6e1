"""Ramps made up from a known law, for the tests of the range test."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from lrsearch.range_test.curve import Ramp
from lrsearch.range_test.plan import HIGH, LOW

STEEPEST, EDGE = 0.01, 0.3


def rates_of(steps: int) -> tuple[float, ...]:
    """As the schedule of a ramp has them."""
    return tuple(HIGH * (LOW / HIGH) ** (1 - step / (steps - 1)) for step in range(steps))


def trained(
    rates: Sequence[float],
    steepest: float = STEEPEST,
    edge: float = EDGE,
    noise: float = 0.0,
    seed: int = 0,
) -> list[float]:
    """Losses that fall from 2.3 to 0.3, fastest at one rate, and rise beyond another."""
    rng = random.Random(seed)
    losses = []
    for rate in rates:
        fallen = 1 / (1 + math.exp(-4 * math.log10(rate / steepest)))
        risen = 0.0 if rate <= edge else min(40.0, 8 * math.log10(rate / edge))
        losses.append(2.3 - 2 * fallen + risen + rng.gauss(0, noise))
    return losses


def ramp_of(
    losses: Sequence[float], steps: int = 100, optimizer: str = "sgd", batch_size: int = 32,
    seed: int = 0,
) -> Ramp:  # fmt: skip
    """A ramp of so many steps that ended with these losses."""
    return Ramp(optimizer, batch_size, seed, rates_of(steps)[: len(losses)], tuple(losses))
