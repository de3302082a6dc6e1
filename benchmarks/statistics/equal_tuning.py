"""How often the comparison at equal tuning is right, in synthetic studies whose truth is known.

    python benchmarks/statistics/equal_tuning.py [--studies 1000] [--only WORD]

Prints a row for each kind of study: how often the 95 % interval of a difference held the truth
(of a pair of families chosen before the study), and how often a winner was named although
all families are equally good. The truth is integrated from the known quantile functions, with none
of the code that is measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from lrsearch.analysis.equal_tuning import compare

Array = NDArray[np.float64]
Quantiles = Callable[[Array], Array]
"""The quantile function of the values of a family: from a probability to a value."""

_SHARES = (np.arange(400_000) + 0.5) / 400_000


def bowl(parameters: int) -> Quantiles:
    """Quantiles of a squared distance from the best values of so many parameters."""
    return lambda u: u ** (2 / parameters)


def log_normal(u: Array) -> Array:
    return np.asarray(np.exp(norm.ppf(u)))


def exponential(u: Array) -> Array:
    return -np.log1p(-u)


def pareto(u: Array) -> Array:
    """Heavy tail of bad values: no variance."""
    return np.asarray((1 - u) ** (-1 / 1.2) - 1)


def diverging(u: Array) -> Array:
    """Three in ten diverge, and count as the worst that did not."""
    return np.minimum(u / 0.7, 1.0)


normal: Quantiles = norm.ppf
student_3: Quantiles = student(3).ppf
"""Heavy tails on both sides."""


@dataclass(frozen=True)
class Kind:
    """A kind of study."""

    name: str
    families: Sequence[Quantiles]
    trials: Sequence[int]
    tries: int | None = None
    """None for half the trials of the family with the fewest."""
    scale: Sequence[float] | None = None
    """Factor of the spread of each family."""

    @property
    def best_of(self) -> int:
        return self.tries or max(2, min(self.trials) // 2)


KINDS = [
    *(
        Kind(f"{name}, {n} trials each", (shape, shape), (n, n))
        for name, shape in (
            ("bowl of one parameter", bowl(1)), ("bowl of two", bowl(2)), ("bowl of four", bowl(4)),
            ("normal", normal), ("log-normal", log_normal), ("exponential", exponential),
            ("Pareto 1.2", pareto), ("Student 3", student_3), ("30 % diverge", diverging),
        )
        for n in (8, 20, 40)
    ),
    *(
        Kind(f"{name}, {few} and {many} trials", (shape, shape), (few, many))
        for name, shape in (
            ("bowl of two", bowl(2)), ("normal", normal), ("log-normal", log_normal),
            ("Pareto 1.2", pareto), ("30 % diverge", diverging),
        )
        for few, many in ((8, 16), (10, 30), (20, 60))
    ),
    Kind("log-normal, 40 trials, best of 10", (log_normal,) * 2, (40, 40), 10),
    Kind("bowl of two, 40 trials, best of 5", (bowl(2),) * 2, (40, 40), 5),
    Kind("bowl of two and exponential", (bowl(2), exponential), (16, 24)),
    Kind("normal, one thrice as wide", (normal,) * 2, (20, 20), None, (1, 3)),
    *(
        Kind(f"{count} families, {name}", (shape,) * count, [12 + 3 * k for k in range(count)])
        for name, shape in (
            ("bowl of two", bowl(2)), ("log-normal", log_normal), ("normal", normal)
        )
        for count in (3, 4, 6)
    ),
    Kind("6 families of six shapes",
         (bowl(1), bowl(2), bowl(4), log_normal, exponential, diverging), (20,) * 6),
]  # fmt: skip


def true_expected_best(quantiles: Quantiles, tries: int) -> float:
    """Integrate the mean of the best of `tries` values.

    The probability that the best of k values is below the quantile of u is 1 - (1 - u)^k.
    """
    return float(np.mean(quantiles(1 - _SHARES ** (1 / tries))))


def measure(kind: Kind, studies: int, seed: int = 0) -> tuple[float, float, float]:
    """Return the coverage, the share of false winners and the median width of the intervals.

    Each family is shifted by its true expected best, so that all are equally good.
    """
    random, k = np.random.default_rng(seed), kind.best_of
    scale = kind.scale or (1,) * len(kind.families)
    truths = [true_expected_best(shape, k) for shape in kind.families]
    names = [f"f{i}" for i in range(len(kind.families))]
    held, false, widths = 0, 0, []
    for _ in range(studies):
        values = {
            name: factor * (shape(random.random(n)) - truth)
            for name, shape, n, truth, factor in zip(
                names, kind.families, kind.trials, truths, scale, strict=True
            )
        }
        places = compare(values, dict.fromkeys(names, k), "min")
        false += sum(place.may_be_best for place in places.values()) == 1
        pair = list(combinations(names, 2))[random.integers(math.comb(len(names), 2))]
        two = (
            places
            if len(names) == 2
            else compare({n: values[n] for n in pair}, dict.fromkeys(pair, k), "min")
        )
        behind = [*two.values()][1].behind
        held += behind.low <= 0 <= behind.high
        widths.append(behind.high - behind.low)
    return held / studies, false / studies, float(np.median(widths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--only", default="", help="kinds whose names contain this")
    options = parser.parse_args()
    print(f"{'studies':48} {'best of':>7} {'held':>7} {'false winners':>14} {'width':>8}")
    for kind in KINDS:
        if options.only in kind.name:
            held, false, width = measure(kind, options.studies)
            print(f"{kind.name:48} {kind.best_of:7} {100 * held:6.1f} % {100 * false:12.1f} % "
                  f"{width:8.3g}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
