"""How far other evaluation samples would move the values of candidates: a paired bootstrap.

Each run keeps the value of the metric on each sample of the part that it was evaluated on (or on
groups of as many samples each, drawn once for all runs). Its value is their mean. The part is one
draw of the samples that there could be, and to resample it with replacement, the same samples for
all candidates, shows how far another draw would move the means, and how far together (Efron 1979,
"Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1)). Of means the
covariance over all resamplings is known in closed form, so that nothing has to be drawn: it is that
of the samples, divided by their number.

What the samples do to a candidate whatever the seed is the covariance of two runs on different
seeds. What they do to one run alone is noise between seeds, which the values themselves show; with
the covariance of a run with itself it would be counted twice (Owen 2007, "The pigeonhole
bootstrap", Annals of Applied Statistics 1(2)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SamplingError:
    """How the means of candidates over seeds vary over samples."""

    candidates: tuple[int, ...]
    covariance: Array
    """Candidate × candidate, in the order of `candidates`; no eigenvalue is below 0."""
    freedom: int
    """Degrees of freedom of the covariance: one less than the samples or groups of samples."""

    def of(self, names: Sequence[int]) -> Array:
        """The covariance of these candidates, in this order."""
        at = [self.candidates.index(name) for name in names]
        return self.covariance[np.ix_(at, at)]


def sampling_error(
    values: Mapping[int, Mapping[int, Sequence[float]]],
) -> SamplingError | None:
    """Estimate the covariance by the values on samples: `values[candidate][seed]`.

    All runs need the same samples in the same order. Returns None where they are fewer than two, or
    not equally many in all runs.
    """
    runs = [run for by_seed in values.values() for run in by_seed.values()]
    counts = {len(run) for run in runs}
    if len(counts) != 1 or min(counts) < 2:
        return None
    (count,) = counts
    names = tuple(sorted(values))
    seeds = sorted({seed for by_seed in values.values() for seed in by_seed})
    known = np.zeros((len(names), len(seeds)))
    centred = np.zeros((len(names), len(seeds), count))
    for c, name in enumerate(names):
        for seed, run in values[name].items():
            s = seeds.index(seed)
            known[c, s] = 1.0
            centred[c, s] = np.asarray(run, dtype=float) - np.mean(run)
    totals = centred.sum(axis=1)
    same = np.einsum("csk,dsk->cd", centred, centred)
    pairs_of_same = known @ known.T
    pairs = np.outer(known.sum(axis=1), known.sum(axis=1)) - pairs_of_same
    # Where two candidates have one seed, the same one, there is no pair of different seeds.
    sums = np.where(pairs > 0, totals @ totals.T - same, same)
    covariance = sums / np.where(pairs > 0, pairs, pairs_of_same) / (count - 1) / count
    roots, vectors = np.linalg.eigh(covariance)
    return SamplingError(names, (vectors * np.maximum(roots, 0.0)) @ vectors.T, count - 1)
