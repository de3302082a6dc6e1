"""How well the exponent between learning rate and batch size is told, in studies of known law.

    python benchmarks/statistics/exponent.py [--studies 240] [--seed 0] [--only WORD]

Prints a row for each kind of study, of exponents 0, 0.5 and 1 and three to six batch sizes in turn:
how often the report tells the exponent, and of those its bias by true exponent and how often the
95 % interval held the truth. A bias of fewer than ten studies is not shown.
"""

from __future__ import annotations

import argparse
import functools
import math
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrsearch.analysis.rate_model import Tries
from lrsearch.analysis.scaling import Fit, fit_one

Array = NDArray[np.float64]

EXPONENTS = (0.0, 0.5, 1.0)
DECADE = math.log(10)
LOW, HIGH = -DECADE, DECADE
"""Log rates of the space: two decades."""
_FEW = 10


def quadratic(decades: Array) -> Array:
    return 0.2 * decades**2


def steep_right(decades: Array) -> Array:
    """Linear to the left, exponential to the right."""
    return np.asarray(0.08 * (np.exp(2.4 * decades) - 1 - 2.4 * decades))


def steep_left(decades: Array) -> Array:
    return steep_right(-decades)


def bent(decades: Array) -> Array:
    """Five times as curved to the right of the optimum."""
    return np.where(decades < 0, 0.1, 0.5) * decades**2


def saturating(decades: Array) -> Array:
    """Rates far from the best learn nothing."""
    return np.asarray(0.5 * (1 - np.exp(-0.5 * (decades / 0.7) ** 2)))


def wide_range(decades: Array) -> Array:
    """Losses over one to two decades."""
    growth = 0.05 * np.exp(1.2 * np.abs(decades) ** 1.5)
    return np.asarray(growth + 0.3 * np.maximum(decades, 0) ** 3)


@dataclass(frozen=True)
class Kind:
    """A kind of study."""

    shape: Callable[[Array], Array] = quadratic
    sampler: str = "random"
    trials: int = 10
    """At each batch size; with a model-based sampler on average."""
    noise: float = 0.01
    edge: str = "middle"
    """Where the optima lie: the outermost at an end of the space, or in the middle of it."""
    others: float = 0.0
    """Mean loss by other parameters; if not 0 they also move the optimum."""
    diverges: float | None = None
    """Decades above the optimum from which on trainings diverge, half of them with a value."""

    @property
    def name(self) -> str:
        parts = [self.shape.__name__.replace("_", " "), self.sampler, f"{self.trials} trials"]
        parts += [f"noise {self.noise:g}"]
        parts += [f"optimum {self.edge}"] if self.edge != "middle" else []
        parts += ["others vary"] if self.others else []
        parts += ["diverging"] if self.diverges else []
        return ", ".join(parts)


KINDS = [
    Kind(),
    Kind(trials=5),
    Kind(trials=5, noise=0.03),
    Kind(trials=40),
    Kind(noise=0.05),
    Kind(trials=20, noise=0.03),
    Kind(trials=40, noise=0.05),
    Kind(steep_right),
    Kind(steep_left),
    Kind(bent),
    Kind(bent, trials=5, noise=0.03),
    Kind(bent, trials=40),
    Kind(saturating),
    Kind(wide_range),
    Kind(sampler="grid", trials=5, noise=0.02),
    Kind(sampler="grid"),
    Kind(bent, sampler="grid"),
    Kind(sampler="grid", trials=20, noise=0.03),
    Kind(edge="low"),
    Kind(edge="high"),
    Kind(edge="outside"),
    Kind(steep_right, edge="low"),
    Kind(steep_right, edge="high"),
    Kind(steep_right, sampler="grid", edge="high"),
    Kind(steep_right, diverges=0.7),
    Kind(sampler="grid", trials=7, noise=0.02, diverges=0.6),
    Kind(others=0.03),
    Kind(steep_right, trials=20, others=0.03),
    Kind(sampler="model"),
    Kind(sampler="model", trials=5),
    Kind(steep_right, sampler="model"),
    Kind(bent, sampler="model", edge="high"),
    Kind(sampler="model", others=0.03),
    Kind(bent, sampler="model", trials=20, others=0.03),
    Kind(steep_right, sampler="model", trials=20, diverges=0.7),
]


class Law:
    """A law between learning rate and batch size, which makes up trials."""

    def __init__(self, kind: Kind, exponent: float, sizes: int, random: np.random.Generator):
        self.kind, self.random = kind, random
        self.batch_sizes = 64.0 * 2 ** np.arange(sizes)
        far = np.log(self.batch_sizes) - np.log(self.batch_sizes).mean()
        reach = exponent * far.max()
        centre = {
            "middle": random.uniform(-0.3, 0.3) * DECADE,
            "low": LOW + reach,
            "high": HIGH - reach,
            "outside": HIGH - reach + 0.3,
        }[kind.edge]
        self.optima = centre + exponent * far
        share = far / far.max()
        self.levels = 0.5 - 0.05 * share + 0.03 * share**2

    def values(self, sizes: NDArray[np.int_], rates: Array) -> Array:
        """Return values at log rates; of trials that diverged without a value NaN."""
        random, kind, count = self.random, self.kind, len(rates)
        moved = random.normal(0, 0.4, count) if kind.others else np.zeros(count)
        distance = rates - self.optima[sizes]
        values: Array = self.levels[sizes] + kind.shape((distance + moved) / DECADE)
        values = values + kind.noise * random.normal(size=count)
        if kind.others:
            values = values + random.exponential(kind.others, count)
        if kind.diverges is not None:
            huge = np.where(random.random(count) < 0.5, np.nan, 10 ** random.uniform(0, 3, count))
            values = np.where(distance > kind.diverges * DECADE, values + huge, values)
        return values

    def tries(self) -> Tries:
        """Return the trials of a study."""
        count = self.kind.trials * len(self.batch_sizes)
        sizes = np.repeat(np.arange(len(self.batch_sizes)), self.kind.trials)
        if self.kind.sampler == "model":
            sizes, rates, values = self._by_model(count)
        else:
            one = np.linspace(LOW, HIGH, self.kind.trials)
            is_grid = self.kind.sampler == "grid"
            rates = (
                np.tile(one, len(self.batch_sizes))
                if is_grid
                else self.random.uniform(LOW, HIGH, count)
            )
            values = self.values(sizes, rates)
        known = np.isfinite(values)
        return Tries(
            rates=np.exp(rates[known]),
            sizes=np.asarray(self.batch_sizes[sizes[known]], float),
            losses=values[known],
            weights=np.ones(int(known.sum())),
            groups=("cosine",) * int(known.sum()),
        )

    def _by_model(self, count: int) -> tuple[NDArray[np.int_], Array, Array]:
        """Sample near the best quarter of the trials so far, as TPE does, after a random start."""
        random, width = self.random, 0.12 * (HIGH - LOW)
        sizes = np.empty(count, int)
        rates, values = np.empty(count), np.empty(count)
        for k in range(count):
            sizes[k], rates[k] = random.integers(len(self.batch_sizes)), random.uniform(LOW, HIGH)
            if k >= max(8, count // 4) and random.random() > 0.1:
                order = np.argsort(np.where(np.isfinite(values[:k]), values[:k], np.inf))
                good = random.choice(order[: max(3, k // 4)])
                rates[k] = np.clip(rates[good] + random.normal(0, width), LOW, HIGH)
                if random.random() < 0.7:
                    sizes[k] = sizes[good]
            values[k] = self.values(sizes[k : k + 1], rates[k : k + 1])[0]
        return sizes, rates, values


@dataclass(frozen=True)
class Result:
    """What was told of the studies of a kind."""

    told: float
    held: float
    width: float
    bias: tuple[float | None, ...]


def measure(kind: Kind, studies: int, seed: int = 0) -> Result:
    """Fit studies of a kind and compare with the law."""
    random = np.random.default_rng(seed)
    fits: list[tuple[float, Fit]] = []
    for study in range(studies):
        exponent = EXPONENTS[study % len(EXPONENTS)]
        law = Law(kind, exponent, 3 + study // len(EXPONENTS) % 4, random)
        fit = fit_one("sgd", law.tries())
        if isinstance(fit, Fit):
            fits.append((exponent, fit))
    by_exponent = [
        [fit.exponent - true for true, fit in fits if true == exponent] for exponent in EXPONENTS
    ]
    return Result(
        told=len(fits) / studies,
        held=sum(fit.low <= true <= fit.high for true, fit in fits) / max(1, len(fits)),
        width=float(np.median([fit.high - fit.low for _, fit in fits] or [math.nan])),
        bias=tuple(
            float(np.mean(errors)) if len(errors) >= _FEW else None for errors in by_exponent
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose names contain this")
    options = parser.parse_args()
    print(f"{'studies':56} {'told':>6} {'held':>6} {'width':>6}   bias at 0, 0.5, 1")
    kinds = [kind for kind in KINDS if options.only in kind.name]
    measured = functools.partial(measure, studies=options.studies, seed=options.seed)
    with multiprocessing.Pool() as pool:
        for kind, result in zip(kinds, pool.imap(measured, kinds), strict=True):
            bias = "  ".join("    -" if one is None else f"{one:+.3f}" for one in result.bias)
            print(f"{kind.name:56} {100 * result.told:4.0f} % {100 * result.held:4.0f} % "
                  f"{result.width:6.2f}   {bias}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
