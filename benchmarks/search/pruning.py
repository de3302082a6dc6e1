"""Losses and savings of pruners on recorded trainings, compared with the median rule.

    python benchmarks/search/pruning.py --curves FOLDER

Questions, with one setting: of the best runs of schedules124m, TaskSet and LCBench, how many are
ended at a quarter, half and three quarters of their time; how often one within seed noise of the
best of 64 recipes of our own table survives. Each is measured twice: with all other trainings
complete, more than a study ever knows; and with the trials one after the other, as in a study. The
tasks of LCBench that `run.py` does not search are held out: nothing was chosen by them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
from collections.abc import Callable, Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import lcbench
import numpy as np
import own_table
import schedules124m
import taskset
from replay import Recorded, ended_among, ends_among, replay

RESULTS = Path(__file__).resolve().parents[1] / "results" / "pruning.json"
CHECKPOINTS = (0.25, 0.5, 0.75)
ORDERS, RESAMPLINGS, RECIPES, ASIDE = 1, 200, 64, 200
Ending = Callable[[list[Recorded], str], tuple[list[bool], float]]
"""Returns which trainings a pruner ends, and the share of all epochs that is spent."""
PRUNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "schedule_aware": ("schedule_aware", {}),
    "median, first fifth free": ("median", {}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, help="the folder with the recorded curves")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with Pool(options.processes) as pool:
        if options.curves is not None:
            studies = schedules124m.load(options.curves)
            found["schedules124m"] = at_checkpoints(pool, studies, [0.2])
            found["schedules124m in turn"] = streams(pool, studies, 0.2, 20)
            tasks = taskset.load(options.curves)
            found["TaskSet"] = at_checkpoints(pool, tasks, [0.05, 0.03, 0.01])
            found["TaskSet in turn"] = streams(pool, tasks, 0.05, ORDERS)
            aside = kept_aside(options.curves / "lcbench")
            found["LCBench, kept aside"] = at_checkpoints(pool, aside, [0.05])
            found["LCBench, kept aside, in turn"] = streams(pool, aside, 0.05, ORDERS)
        if own_table.TABLE.exists():
            found["own table"] = resampled(pool, among_whole)
            found["own table in turn"] = resampled(pool, in_turn)
    print(json.dumps(found, indent=1))
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def arguments_for(name: str, evaluations: int) -> tuple[str, dict[str, Any]]:
    """Return a pruner's arguments; the median's warm-up is a fifth of a training."""
    pruner, arguments = PRUNERS[name]
    return pruner, arguments | ({"n_warmup_steps": evaluations // 5} if pruner == "median" else {})


def kept_aside(folder: Path) -> dict[str, list[Recorded]]:
    """Return random settings of each held-out task."""
    return {
        name: lcbench.Task(folder, name).trainings(ASIDE, 0) for name in lcbench.other_tasks(folder)
    }


def at_checkpoints(
    pool: Any, studies: dict[str, list[Recorded]], shares: Sequence[float]
) -> dict[str, dict[str, list[int]]]:
    """Return, by pruner, the decisions that end a run and all decisions.

    Of all runs, and of the best shares of runs.
    """
    found = {}
    for name in PRUNERS:
        jobs = [
            (runs, name, progress, shares) for runs in studies.values() for progress in CHECKPOINTS
        ]
        counts = np.sum(pool.map(at_checkpoint, jobs, chunksize=1), axis=0)
        groups = ["all", *(f"the best {share:.0%}" for share in shares)]
        found[name] = {
            f"ended of {group}": ended for group, ended in zip(groups, counts.tolist(), strict=True)
        }
    return found


def at_checkpoint(
    job: tuple[list[Recorded], str, float, Sequence[float]],
) -> list[tuple[int, int]]:
    """Count ended runs and decisions of one study at one moment, of all and of the best shares."""
    runs, name, progress, shares = job
    pruner, arguments = arguments_for(name, len(runs[0].curve.rates))
    ended = ended_among(runs, progress, pruner, arguments)
    ranked = np.argsort(finals(runs)).tolist()
    bests = [ranked[: int(share * len(runs))] for share in shares]
    groups = [list(ended), *([k for k in best if k in ended] for best in bests)]
    return [(sum(ended[k] for k in group), len(group)) for group in groups]


def streams(
    pool: Any, studies: dict[str, list[Recorded]], share: float, orders: int
) -> dict[str, dict[str, float]]:
    """Return, by pruner, the lost part of the best `share`, and the epochs spent.

    The trials run one after the other, in random orders.
    """
    found = {}
    for name in PRUNERS:
        jobs = [
            (shuffled(runs, order), name, share)
            for runs in studies.values()
            for order in range(orders)
        ]
        results = pool.map(stream, jobs, chunksize=1)
        lost, epochs = np.mean(results, axis=0)
        found[name] = {"lost of the best": round(lost, 4), "epochs": round(epochs, 4)}
    return found


def stream(job: tuple[list[Recorded], str, float]) -> tuple[float, float]:
    """Return the share of the best that is ended, and the share of all epochs that is spent."""
    runs, name, share = job
    ended, epochs = in_turn(runs, name)
    best = np.argsort(finals(runs))[: max(1, int(share * len(runs)))]
    return float(np.mean(np.array(ended)[best])), epochs


def resampled(pool: Any, ended: Ending) -> dict[str, dict[str, float]]:
    """Return, by pruner, how often one within seed noise of the best of 64 survives, and epochs.

    Also how often one survives whose distance to the best may be chance, by the report's measure:
    at most twice the standard deviation of the difference of two seeds.
    """
    runs, noise = own_table.recorded(), own_table.seed_noise()
    found = {}
    for name in PRUNERS:
        jobs = [(ended, shuffled(runs, seed)[:RECIPES], name) for seed in range(RESAMPLINGS)]
        lost, epochs = np.transpose(pool.map(survival, jobs, chunksize=1))
        found[name] = {
            "survived": round(float(np.mean(lost <= noise)), 4),
            "survived, or by chance": round(float(np.mean(lost <= 2 * math.sqrt(2) * noise)), 4),
            "epochs saved": round(float(1 - np.mean(epochs)), 4),
        }
    found["seed noise"] = {"standard deviation": round(noise, 5)}
    return found


def survival(job: tuple[Ending, list[Recorded], str]) -> tuple[float, float]:
    """Return by how much the best survivor is worse than the best, and the epochs spent."""
    ended, runs, name = job
    lost, epochs = ended(runs, name)
    ends = finals(runs)
    return float(ends[~np.array(lost)].min() - ends.min()), epochs


def in_turn(runs: list[Recorded], name: str) -> tuple[list[bool], float]:
    """Return which trainings are ended one after the other, some spared, and the epochs spent."""
    pruner, arguments = arguments_for(name, len(runs[0].curve.rates))
    replayed = replay(runs, pruner, **arguments)
    return [trial.state == "pruned" for trial in replayed.trials], replayed.epochs


def among_whole(runs: list[Recorded], name: str) -> tuple[list[bool], float]:
    """Return the same with all other trainings complete, and none spared."""
    pruner, arguments = arguments_for(name, len(runs[0].curve.rates))
    ends = ends_among(runs, pruner, arguments)
    spent = [
        len(run.curve.values) if end is None else end for run, end in zip(runs, ends, strict=True)
    ]
    return [end is not None for end in ends], sum(spent) / sum(len(run.curve.rates) for run in runs)


def finals(runs: Sequence[Recorded]) -> np.ndarray:
    """Return the last losses; infinite where a training diverged."""
    return np.array([np.inf if r.curve.diverged else r.curve.values[-1] for r in runs])


def shuffled(runs: Sequence[Recorded], seed: int) -> list[Recorded]:
    order = list(runs)
    random.Random(seed).shuffle(order)
    return order


if __name__ == "__main__":
    sys.exit(main())
