"""A table of our own: every scheduler family and two optimizers on MNIST (see make_table.py)."""

from __future__ import annotations

import functools
import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from problems import Curve
from replay import Recorded
from scipy.stats import chi2

from lrsearch.cli.compose import load_settings
from lrsearch.recipe import Recipe
from lrsearch.tuning.samplers.joint import JointSpace

TABLE = Path(__file__).resolve().parent / "table.json.gz"


@functools.cache
def read() -> dict[str, Any]:
    """Read the table."""
    with gzip.open(TABLE, "rt") as file:
        found: dict[str, Any] = json.load(file)
    return found


def recorded(seed: int = 0) -> list[Recorded]:
    """Return the trainings of one seed, in the order of the recipes."""
    return [_recorded(row) for row in read()["curves"] if row["seed"] == seed and row["values"]]


def _recorded(row: dict[str, Any]) -> Recorded:
    recipe = read()["recipes"][row["recipe"]]
    return Recorded(_curve(row), recipe["optimizer"], 2 ** recipe["log2_batch_size"])


@functools.cache
def evaluations() -> int:
    """Return the number of evaluations of a whole training."""
    return max(len(row["values"]) for row in read()["curves"])


def _curve(row: dict[str, Any]) -> Curve:
    """Return the curve of a row. After a divergence, the last rate stands for the missing ones."""
    rates = row["rates"] or [1.0]
    return Curve(row["values"], rates + rates[-1:] * (evaluations() - len(rates)))


def seed_noise() -> float:
    """Return the median standard deviation, over seeds, of the last loss of the best recipes.

    The median, since one recipe in forty diverges with some seeds. Seed 0, by which they were the
    best, is left out, since it was lucky.
    """
    finals: dict[int, list[float]] = {}
    for row in read()["curves"]:
        if row["seed"] > 0 and row["outcome"] == "complete":
            finals.setdefault(row["recipe"], []).append(row["values"][-1])
    # Correct for few values: the median of the chi-square distribution is below its mean.
    freedoms = [len(values) - 1 for values in finals.values()]
    scatter = [np.var(values, ddof=1) for values in finals.values()]
    return math.sqrt(np.median(scatter * np.array(freedoms) / chi2.median(freedoms)))


class OwnTable:
    """A search in the table: a recipe gets the curve of the nearest trained one."""

    name = "own table"

    def __init__(self) -> None:
        table = read()
        self.space = load_settings(table["overrides"]).space
        self._joint = JointSpace(self.space)
        points, _ = self._joint.points(table["recipes"])
        self._encoded, self._branches = self._joint.encode(points), points.branch
        rows = [row for row in table["curves"] if row["seed"] == 0]
        self.evaluations = evaluations()
        self._curves = {row["recipe"]: _curve(row) for row in rows}
        finals = [row["values"][-1] for row in rows if len(row["values"]) == self.evaluations]
        self.best, self.median = float(min(finals)), float(np.median(finals))

    def curve(self, recipe: Recipe, parameters: Mapping[str, Any]) -> Curve:
        """Return the curve of the nearest recipe on the same branch."""
        points, _ = self._joint.points([parameters])
        encoded = self._joint.encode(points)[0]
        same = np.flatnonzero(self._branches == points.branch[0])
        nearest = same[np.argmin(((self._encoded[same] - encoded) ** 2).sum(axis=1))]
        return self._curves[int(nearest)]
