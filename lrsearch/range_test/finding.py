"""What the ramps of several seeds and batch sizes say together, and the range they suggest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrsearch.range_test.curve import Ramp, look, mean_curves
from lrsearch.range_test.plan import HIGH
from lrsearch.space.space import Coupling

HEADROOM = 3.0
"""The range ends so many times above the largest rate that trains.

A schedule that begins low and decays stands a peak that a constant rate does not.
"""
DECADES = 3
"""The range begins so far below its end, or further:"""
BELOW_STEEPEST = 30.0
"""at least so many times below the rate at which the loss falls fastest.

The ramps of Adam and its kin may rise, fall again, and train up to rates far above the good ones.
"""


DISAGREE = 3.0
"""Seeds whose largest rates are further apart than this factor disagree: the smaller one counts."""


@dataclass(frozen=True)
class Spread:
    """A rate: the one that counts, mostly the middle over the seeds, and the ends."""

    value: float
    low: float
    high: float

    @property
    def disagrees(self) -> bool:
        """Whether the seeds say very different things."""
        return self.high > DISAGREE * self.low


@dataclass(frozen=True)
class Finding:
    """One optimizer at one batch size."""

    optimizer: str
    batch_size: int
    seeds: int
    falls: bool
    """Whether the loss falls at any rate, with most seeds."""
    steepest: Spread | None
    """Where the loss falls fastest."""
    largest: Spread | None
    """The largest rate that trains; None where it trains up to the highest that was tried."""
    diverged: Spread | None


@dataclass(frozen=True)
class Suggested:
    """A range of learning rates, to be searched by logarithm."""

    low: float
    high: float

    def to_dict(self) -> dict[str, float | bool]:
        """As a sweep has it."""
        return {"low": self.low, "high": self.high, "log": True}


def find(ramps: Sequence[Ramp]) -> list[Finding]:
    """A finding for each optimizer and batch size, in the order of the ramps."""
    groups: dict[tuple[str, int], list[Ramp]] = {}
    for ramp in ramps:
        groups.setdefault((ramp.optimizer, ramp.batch_size), []).append(ramp)
    return [_finding(*key, group) for key, group in groups.items()]


def _finding(optimizer: str, batch_size: int, ramps: Sequence[Ramp]) -> Finding:
    seen = [look(ramp) for ramp in ramps]
    falling = [one for one in seen if one.falls]
    falls = 2 * len(falling) > len(seen)
    chosen = falling if falls else []
    training = [ramp for ramp, one in zip(ramps, seen, strict=True) if one.falls]
    return Finding(
        optimizer=optimizer,
        batch_size=batch_size,
        seeds=len(seen),
        falls=falls,
        steepest=_spread([one.steepest for one in chosen]),
        largest=_largest(_spread([one.largest for one in chosen]), training),
        diverged=_spread([one.diverged for one in seen]),
    )


def _spread(rates: Sequence[float | None]) -> Spread | None:
    """None where fewer than half have the rate."""
    known = [rate for rate in rates if rate is not None]
    if not known or 2 * len(known) < len(rates):
        return None
    middle = 10 ** float(np.median(np.log10(known)))
    return Spread(middle, min(known), max(known))


def _largest(found: Spread | None, ramps: Sequence[Ramp]) -> Spread | None:
    """Not the middle, but the smallest where seeds disagree; and no rate at which the mean of the
    seeds' smoothed losses is above where it began, or one of them has diverged.
    """
    if found is None:
        return None
    if found.disagrees:
        return replace(found, value=found.low)
    value = found.value
    for curve in mean_curves(ramps):
        trains = [
            rate
            for rate, loss in zip(curve.rates, curve.losses, strict=True)
            if rate <= value and loss <= curve.losses[0]
        ]
        value = max(trains, default=found.low)
    return replace(found, value=max(value, found.low)) if value < 0.9 * found.value else found


def suggest(
    findings: Sequence[Finding], optimizer: str, coupling: Coupling | None = None
) -> Suggested | None:
    """The range for an optimizer that suits all of its batch sizes; None where no loss falls.

    It reaches up to HEADROOM above the largest rate that trains, or to the highest that was tried,
    and down to DECADES below that. With a `coupling` it is that of the rate at the reference batch
    size. What lies between two batch sizes by interpolation lies in it, too.
    """
    beginnings, ends = [], []
    for finding in findings:
        if finding.optimizer != optimizer or finding.steepest is None:
            continue
        end = HIGH if finding.largest is None else min(HIGH, HEADROOM * finding.largest.value)
        beginning = min(end / 10**DECADES, finding.steepest.value / BELOW_STEEPEST)
        factor = 1.0 if coupling is None else coupling.factor(finding.batch_size)
        beginnings.append(beginning / factor)
        ends.append(end / factor)
    if not ends:
        return None
    return Suggested(_rounded(min(beginnings), math.floor), _rounded(max(ends), math.ceil))


def _rounded(value: float, direction: Callable[[float], int]) -> float:
    """Two significant digits, so that the range only grows."""
    power = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{direction(value / power) * power:.2g}")
