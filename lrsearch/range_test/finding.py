"""Summary of the ramps of several seeds and batch sizes, and the range that follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrsearch.range_test.curve import Ramp, mean_curves, ramp_rates
from lrsearch.range_test.plan import HIGH
from lrsearch.space.space import Coupling

HEADROOM = 3.0
"""Factor from the largest rate that trains to the end of the range.

A schedule with warm-up and decay can train at a peak at which a constant rate cannot.
"""
DECADES = 3
"""Least length of the range in decades."""
BELOW_STEEPEST = 30.0
"""Least factor from the beginning of the range to the rate at which the loss falls fastest.

The losses of Adam and similar optimizers may rise and fall again, up to rates far above good ones.
"""
DISAGREE = 3.0
"""Factor between the largest rates of two seeds above which they disagree: the smaller counts."""


@dataclass(frozen=True)
class Spread:
    """A rate over several seeds: the value to use, the smallest and the largest."""

    value: float
    low: float
    high: float

    @property
    def disagrees(self) -> bool:
        """Whether the seeds differ by more than the factor DISAGREE."""
        return self.high > DISAGREE * self.low


@dataclass(frozen=True)
class Finding:
    """Rates that the ramps of one optimizer at one batch size show."""

    optimizer: str
    batch_size: int
    seeds: int
    falls: bool
    """Whether the loss falls at some rate for most seeds."""
    steepest: Spread | None
    """Rate at which the loss falls fastest."""
    largest: Spread | None
    """Largest rate that trains; None where it trains up to the highest rate of the ramp."""
    diverged: Spread | None
    """Rate at which the loss diverges; None where it does not for most seeds."""


@dataclass(frozen=True)
class Suggested:
    """A range of learning rates, to be searched on a logarithmic scale."""

    low: float
    high: float

    def to_dict(self) -> dict[str, float | bool]:
        """Return the range as a sweep's configuration has it."""
        return {"low": self.low, "high": self.high, "log": True}


def find(ramps: Sequence[Ramp]) -> list[Finding]:
    """Return a finding for each optimizer and batch size, in the order of the ramps."""
    groups: dict[tuple[str, int], list[Ramp]] = {}
    for ramp in ramps:
        groups.setdefault((ramp.optimizer, ramp.batch_size), []).append(ramp)
    return [_finding(*key, group) for key, group in groups.items()]


def _finding(optimizer: str, batch_size: int, ramps: Sequence[Ramp]) -> Finding:
    rates = [ramp_rates(ramp) for ramp in ramps]
    falling = [ramp for ramp in rates if ramp.falls]
    falls = 2 * len(falling) > len(rates)
    chosen = falling if falls else []
    training = [ramp for ramp, shown in zip(ramps, rates, strict=True) if shown.falls]
    return Finding(
        optimizer=optimizer,
        batch_size=batch_size,
        seeds=len(rates),
        falls=falls,
        steepest=_spread([ramp.steepest for ramp in chosen]),
        largest=_largest(_spread([ramp.largest for ramp in chosen]), training),
        diverged=_spread([ramp.diverged for ramp in rates]),
    )


def _spread(rates: Sequence[float | None]) -> Spread | None:
    """Return median (of the logarithms) and ends; None where fewer than half have the rate."""
    known = [rate for rate in rates if rate is not None]
    if not known or 2 * len(known) < len(rates):
        return None
    middle = 10 ** float(np.median(np.log10(known)))
    return Spread(middle, min(known), max(known))


def _largest(spread: Spread | None, ramps: Sequence[Ramp]) -> Spread | None:
    """Lower the largest rate that trains, where the seeds together ask for it.

    To the smallest of the seeds where they disagree; else to the largest rate up to which no seed
    has diverged and at which the mean of their smoothed losses is not above its beginning.
    """
    if spread is None:
        return None
    if spread.disagrees:
        return replace(spread, value=spread.low)
    value = spread.value
    for curve in mean_curves(ramps):
        trains = [
            rate
            for rate, loss in zip(curve.rates, curve.losses, strict=True)
            if rate <= value and loss <= curve.losses[0]
        ]
        value = max(trains, default=spread.low)
    # A difference below a tenth is noise.
    return replace(spread, value=max(value, spread.low)) if value < 0.9 * spread.value else spread


def suggest(
    findings: Sequence[Finding], optimizer: str, coupling: Coupling | None = None
) -> Suggested | None:
    """Return a range for an optimizer that suits all batch sizes; None where no loss falls.

    At each batch size it ends HEADROOM times above the largest rate that trains, but not above
    HIGH, and begins DECADES below that, or BELOW_STEEPEST times below the steepest rate if that is
    lower. The result encloses the ranges of all batch sizes. With a `coupling`, its rates are those
    at the reference batch size.
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
    """Round to two significant digits: with `floor` downwards, with `ceil` upwards."""
    power = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{direction(value / power) * power:.2g}")
