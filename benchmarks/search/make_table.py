"""Create `table.json.gz`: curves of 600 recipes of every scheduler family and two optimizers.

A small MLP on 6,000 images of MNIST, 20 evaluations a training, by lrsearch's own training. It
resumes after an interruption; two processes may share the work:

    python benchmarks/search/make_table.py --part 0/2 & python benchmarks/search/make_table.py \\
        --part 1/2 & wait; python benchmarks/search/make_table.py --collect

Then the best recipes are trained with further seeds, by the same commands with --further: the
variation over seeds is noise that no search can resolve.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import math
import random
import sys
from pathlib import Path
from typing import Any

from own_table import TABLE, read

from lrsearch.cli.compose import load_settings
from lrsearch.data.parts import TensorPart
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.recipe import Recipe
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.seeds import derived_seed
from lrsearch.space.space import Space
from lrsearch.training.loop import Diverged, Task, train

RECIPES, BEST, FURTHER_SEEDS = 600, 40, 4
N_TRAIN, N_VALIDATION, EPOCHS = 6_000, 3_000, 20
OVERRIDES = [
    "+sweep=mnist",
    f"train.epochs={EPOCHS}",
    "train.device=cpu",
    "+space.scheduler.lambda={}",
    "+space.scheduler.multiplicative={}",
    "+space.scheduler.piecewise={}",
    f"space.scheduler.only=[{','.join(SCHEDULERS)}]",
]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", default="0/1", help="K/N: each N-th training, from the K-th on")
    parser.add_argument("--folder", type=Path, default=Path("table-parts"), help="of what is done")
    parser.add_argument("--further", action="store_true", help="the table's best, further seeds")
    parser.add_argument("--collect", action="store_true", help="write the table from the folder")
    options = parser.parse_args()
    if options.further and not TABLE.exists():
        parser.error("--further needs the table: --collect it first, without --further")
    if options.collect:
        return collect(options.folder, options.further)
    options.folder.mkdir(exist_ok=True)
    part, parts = map(int, options.part.split("/"))
    settings = load_settings(OVERRIDES)
    objective = build_objective(settings, None)
    assert isinstance(objective, TrainingObjective)
    chosen = recipes(settings.space)
    with (options.folder / f"{part}-of-{parts}.jsonl").open("a+") as done:
        done.seek(0)
        known = {(row["recipe"], row["seed"]) for row in map(json.loads, done)}
        for number, (k, seed) in enumerate(jobs(options.further)):
            if number % parts == part and (k, seed) not in known:
                row = {"recipe": k, "seed": seed, **trained(objective, chosen[k][1], k, seed)}
                done.write(json.dumps(row) + "\n")
                done.flush()
                print(number, chosen[k][1].describe(), row["values"][-1:], flush=True)
    return 0


def recipes(space: Space) -> list[tuple[dict[str, Any], Recipe]]:
    """Return random settings, equally many of each branch, and their recipes."""
    branches = list(space.grid(["optimizer", "scheduler"]))
    found = []
    for k in range(RECIPES):
        rng, given = random.Random(derived_seed("table", k)), branches[k % len(branches)]
        parameters: dict[str, Any] = {}

        def choose(name: str, domain: Any, rng: random.Random = rng, given: Any = given) -> Any:
            value = given[name] if name in given else domain.sample(rng)
            parameters.update(domain.stored(name, value))  # noqa: B023
            return value

        found.append((parameters, space.recipe(choose)))
    return found


def jobs(further: bool) -> list[tuple[int, int]]:
    """Return recipe and seed of each training: all recipes once, or the table's best again."""
    if not further:
        return [(k, 0) for k in range(RECIPES)]
    complete = [row for row in read()["curves"] if row["outcome"] == "complete"]
    ranked = sorted((row for row in complete if row["seed"] == 0), key=lambda r: r["values"][-1])
    best = [row["recipe"] for row in ranked[:BEST]]
    return [(k, seed) for seed in range(1, FURTHER_SEEDS + 1) for k in best]


def trained(objective: TrainingObjective, recipe: Recipe, k: int, seed: int) -> dict[str, Any]:
    """Train one recipe; return its curve, and the rate at each evaluation."""
    task = smaller(objective.task(recipe, derived_seed("table", "train", k, seed), lambda: False))
    values: list[float] = []
    rates: list[float] = []
    outcome = "complete"
    try:
        for evaluation in train(task):
            if not math.isfinite(evaluation.values["val_loss"]):
                outcome = "diverged"
                break
            values.append(rounded(evaluation.values["val_loss"]))
            rates.append(rounded(evaluation.lr_end[0]))
    except Diverged:
        outcome = "diverged"
    return {"outcome": outcome, "values": values, "rates": rates}


def smaller(task: Task) -> Task:
    """Return the training on the first images only."""
    for part in (task.parts.train, task.parts.validation):
        assert isinstance(part, TensorPart)
    few = {
        name: TensorPart(part.x[:n], part.y[:n])
        for name, part, n in (
            ("train", task.parts.train, N_TRAIN),
            ("validation", task.parts.validation, N_VALIDATION),
        )
    }
    task.parts = dataclasses.replace(task.parts, **few)
    task.length = task.settings.length(task.recipe.batch_size, N_TRAIN)
    return task


def rounded(value: float) -> float:
    return float(f"{value:.5g}")


def collect(folder: Path, further: bool) -> int:
    """Write the table from the folder's trainings; add `further` ones to the existing table."""
    rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.open()]
    done = {(row["recipe"], row["seed"]): row for row in rows}
    wanted = jobs(further)
    missing = sum(job not in done for job in wanted)
    if missing:
        print(f"{missing} trainings are missing", file=sys.stderr)
        return 1
    once = [row for row in read()["curves"] if row["seed"] == 0] if further else []
    curves = once + [done[job] for job in sorted(wanted, key=lambda job: job[::-1])]
    chosen = recipes(load_settings(OVERRIDES).space)
    table = {
        "made by": "benchmarks/search/make_table.py",
        "overrides": OVERRIDES,
        "train": N_TRAIN,
        "validation": N_VALIDATION,
        "recipes": [parameters for parameters, _ in chosen],
        "curves": curves,
    }
    with gzip.GzipFile(TABLE, "wb", mtime=0) as file:
        file.write(json.dumps(table, separators=(",", ":")).encode())
    print(f"{TABLE}: {TABLE.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
