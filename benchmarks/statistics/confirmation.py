"""How often a confirmation is right, on simulated candidates whose true values are known.

    python benchmarks/statistics/confirmation.py --studies 400

prints a row for each kind of study: with the error of the validation samples as lrsearch takes it
into account, and as if it were not known.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from lrsearch.confirm.model import estimate
from lrsearch.confirm.sampling import sampling_error


@dataclass(frozen=True)
class Case:
    """A kind of study. Standard deviations are in units of the noise between seeds."""

    apart: float
    """Of the true values of the candidates."""
    candidates: int
    seeds: int
    samples: int
    """Number of validation samples."""
    shared: float
    """Of a mean over the samples, by what makes them hard for all candidates."""
    own: float
    """Of a mean over the samples, by what makes them hard for one candidate."""
    single: float = 0.0
    """Of a mean over the samples, by what makes them hard for one run alone."""
    skewed: bool = False
    """Whether values on samples are exponentially distributed instead of normally."""


@dataclass(frozen=True)
class Shares:
    """How often intervals and probabilities were right."""

    covered: float
    """Of the 95 % intervals of means, those that hold the truth."""
    gaps_covered: float
    """The same of differences to the likeliest best."""
    said: float
    """Mean probability of the likeliest best."""
    right: float
    """How often it was the best."""


CASES = (
    Case(1.0, 4, 4, 88, shared=1.0, own=0.5, single=0.5),
    Case(1.0, 4, 4, 88, shared=2.0, own=2.0),
    Case(3.0, 3, 3, 88, shared=2.0, own=2.0, single=2.0),
    Case(0.3, 5, 3, 88, shared=2.0, own=1.0, single=0.5),
    Case(1.0, 3, 2, 88, shared=1.0, own=1.0, single=1.0),
    Case(1.0, 4, 4, 88, shared=1.0, own=1.0, single=0.5, skewed=True),
    Case(1.0, 3, 5, 20, shared=1.0, own=1.0, single=0.5),
    Case(1.0, 4, 4, 1000, shared=0.2, own=0.1),
)


def simulate(case: Case, studies: int, are_known: bool = True, seed: int = 0) -> Shares:
    """Estimate so many studies; `are_known` says whether the values on samples are."""
    random = np.random.default_rng(seed)
    covered, gaps, said, right = [], [], [], []
    candidates, seeds = range(case.candidates), range(case.seeds)
    for _ in range(studies):
        truth = random.normal(0.0, case.apart, case.candidates)
        noise = random.normal(0.0, 0.5, case.seeds) + random.normal(
            0.0, 1.0, (case.candidates, case.seeds)
        )
        on_samples = truth[:, None, None] + noise[:, :, None] + _on_samples(case, random)
        values = {c: {s: float(on_samples[c, s].mean()) for s in seeds} for c in candidates}
        known = {c: {s: on_samples[c, s] for s in seeds} for c in candidates}
        found = estimate(values, "min", sampling_error(known) if are_known else None)
        best = max(found, key=lambda c: found[c].probability)
        covered += [found[c].low <= truth[c] <= found[c].high for c in candidates]
        gaps += [
            found[c].behind_low <= truth[c] - truth[best] <= found[c].behind_high
            for c in candidates
            if c != best
        ]
        said.append(found[best].probability)
        right.append(truth[best] == truth.min())
    return Shares(*(float(np.mean(shares)) for shares in (covered, gaps, said, right)))


def _on_samples(case: Case, random: np.random.Generator) -> np.ndarray:
    """The deviations of values on samples: candidate × seed × sample."""

    def draw(deviation: float, candidates: int, seeds: int) -> np.ndarray:
        shape = (candidates, seeds, case.samples)
        drawn = random.exponential(size=shape) - 1 if case.skewed else random.normal(size=shape)
        return deviation * np.sqrt(case.samples) * drawn

    return (
        draw(case.shared, 1, 1)
        + draw(case.own, case.candidates, 1)
        + draw(case.single, case.candidates, case.seeds)
    )


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400)
    studies: int = parser.parse_args().studies
    print("| candidates | seeds | samples | apart | of samples: all, one, one run | skewed "
          "| means | differences | said | right | means, samples not known |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        known, not_known = simulate(case, studies), simulate(case, studies, are_known=False)
        print(
            f"| {case.candidates} | {case.seeds} | {case.samples} | {case.apart:g} "
            f"| {case.shared:g}, {case.own:g}, {case.single:g} | {'yes' if case.skewed else 'no'} "
            f"| {known.covered:.1%} | {known.gaps_covered:.1%} | {known.said:.2f} "
            f"| {known.right:.2f} | {not_known.covered:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
