"""Results of samplers and pruners on recorded curves, by the number of epochs spent.

    make bench-search CURVES=FOLDER     (or: python benchmarks/search/run.py --curves FOLDER)

Every contestant searches every problem with the same seeds. Finished searches are appended to the
output file: an interrupted benchmark resumes there. FOLDER holds `lcbench/model.onnx`
and its two JSON files (slds-lmu/yahpo_data), see docs/search.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

# Set before NumPy is imported: each process uses one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import lcbench
import numpy as np
import own_table
from one_epoch import one_epoch
from problems import Problem, regret
from simulate import Contestant, simulate

RESULTS = Path(__file__).resolve().parents[1] / "results" / "search.jsonl"
BUDGETS = (500, 1000, 2500)
"""Budgets in epochs of whole trainings of 50; scaled for trainings of other lengths."""
SEEDS = 10
OURS, ONE_EPOCH = "auto + schedule_aware", "one epoch, keep the top"

_MEDIAN_10 = {"n_warmup_steps": 10}
CONTESTANTS: dict[str, Contestant | None] = {
    OURS: Contestant("auto", "schedule_aware"),
    "auto, no pruning": Contestant("auto", "none"),
    "random, no pruning": Contestant("random", "none"),
    "QMC, no pruning": Contestant("qmc", "none"),
    "TPE, no pruning": Contestant("tpe", "none"),
    "GP, no pruning": Contestant("gp", "none"),
    "CMA-ES, no pruning": Contestant("cmaes", "none"),
    "TPE + median": Contestant("tpe", "median"),
    "TPE + median, 10-epoch warm-up": Contestant("tpe", "median", {}, _MEDIAN_10),
    "TPE + percentile 25": Contestant("tpe", "percentile"),
    "TPE + successive halving": Contestant("tpe", "asha"),
    "TPE + Hyperband": Contestant("tpe", "hyperband"),
    ONE_EPOCH: None,
}
FLEETS = {f"auto, no pruning: {workers} at once": workers for workers in (1, 8)}
"""Contestants with several workers at once, each for a hundred whole trainings."""


@dataclass(frozen=True)
class Job:
    """One search."""

    problem: str
    contestant: str
    seed: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, help="the folder with LCBench's surrogate")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", default="", help="parts of contestants' names, ; between")
    parser.add_argument("--problems", default="", help="parts of problems' names, ; between")
    parser.add_argument(
        "--fleets", action="store_true", help="a hundred trials by 1 and by 8 workers"
    )
    parser.add_argument(
        "--aside", action="store_true", help="the tasks of LCBench that nothing was chosen by"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    if options.aside and options.curves is None:
        parser.error("--aside needs --curves")
    global _CURVES
    _CURVES = options.curves
    known = read(options.output)
    if not options.table:
        known_here = aside_names(options.curves) if options.aside else problem_names(options.curves)
        names = [name for name in known_here if chosen(name, options.problems)]
        among = FLEETS if options.fleets else CONTESTANTS
        entries = [name for name in among if chosen(name, options.only)]
        jobs = [Job(p, c, s) for s in range(options.seeds) for c in entries for p in names]
        known |= work([job for job in jobs if job not in known], options.output, options.processes)
    for group in ("lcbench", "own", "aside"):
        mine = {job: found for job, found in known.items() if job.problem.startswith(group)}
        print_table(group, mine)
    return 0


_CURVES: Path | None = None


def problem_names(curves: Path | None) -> list[str]:
    """Return the problems whose data exist."""
    names = [f"lcbench-{task}" for task in lcbench.TASKS] if curves is not None else []
    return names + (["own table"] if own_table.TABLE.exists() else [])


def aside_names(curves: Path) -> list[str]:
    """Return the held-out tasks, for confirmation."""
    return [f"aside-{task}" for task in lcbench.other_tasks(curves / "lcbench")]


def chosen(name: str, parts: str) -> bool:
    return not parts or any(part in name for part in parts.split(";"))


def build(name: str) -> Problem:
    if name == "own table":
        return own_table.OwnTable()
    assert _CURVES is not None
    return lcbench.Task(_CURVES / "lcbench", name.rpartition("-")[2])


def work(jobs: Sequence[Job], output: Path, processes: int) -> dict[Job, list[float | None]]:
    """Run searches; write each result when it ends."""
    found = {}
    output.parent.mkdir(exist_ok=True)
    with output.open("a") as file, Pool(processes) as pool:
        for count, (job, regrets) in enumerate(pool.imap_unordered(run, jobs), start=1):
            found[job] = regrets
            file.write(json.dumps({**job.__dict__, "regrets": regrets}) + "\n")
            file.flush()
            print(f"\r{count}/{len(jobs)} {job.contestant}, {job.problem}    ", end="", flush=True)
    print()
    return found


def run(job: Job) -> tuple[Job, list[float | None]]:
    """Return the regret of the best complete trial after each budget; None before the first."""
    problem = build(job.problem)
    budgets = [budget * problem.evaluations // 50 for budget in BUDGETS]
    if job.contestant == ONE_EPOCH:
        return job, [one_epoch(problem, job.seed, budget) for budget in budgets]
    workers = FLEETS.get(job.contestant, 1)
    contestant = CONTESTANTS.get(job.contestant) or Contestant("auto", "none")
    if job.contestant in FLEETS:
        budgets = [100 * problem.evaluations]
    best: list[float | None] = [None] * len(budgets)
    lowest = math.inf
    for ended in simulate(problem, contestant, job.seed, budgets[-1], workers):
        if ended.trial.state == "complete":
            lowest = min(lowest, ended.trial.values[-1])
            for k, budget in enumerate(budgets):
                if ended.spent <= budget:
                    best[k] = regret(problem, lowest)
    return job, best


def read(path: Path) -> dict[Job, list[float | None]]:
    """Read the results of earlier runs."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {Job(row["problem"], row["contestant"], row["seed"]): row["regrets"] for row in rows}


def print_table(group: str, known: dict[Job, list[float | None]]) -> None:
    """Print means over problems and seeds, and paired differences to ours with 95 % intervals."""
    if not known:
        return
    ours = means(known, OURS)
    print(f"\n{group}: regret (0: best of many random settings, 1: their median)")
    print(f"{'':36}" + "".join(f"{budget:>9}" for budget in BUDGETS) + "   minus ours (95 %)")
    for name in CONTESTANTS:
        rows = means(known, name)
        if not rows:
            continue
        columns = np.array(list(rows.values()))
        line = f"{name:36}" + "".join(f"{value:9.3f}" for value in columns.mean(axis=0))
        both = sorted(rows.keys() & ours.keys())
        if name != OURS and len(both) > 1:
            pairs = np.array([rows[seed] - ours[seed] for seed in both])
            half = _t(len(both)) * pairs.std(axis=0, ddof=1) / math.sqrt(len(both))
            mean = pairs.mean(axis=0)
            line += "   " + "  ".join(
                f"{m:+.3f} ({m - h:+.3f} to {m + h:+.3f})" for m, h in zip(mean, half, strict=True)
            )
        print(f"{line}   {len(rows)} seeds")
    for name in FLEETS:
        rows = means(known, name)
        if rows:
            value = np.mean(list(rows.values()))
            print(f"{name:36} after 100 trainings {value:.3f}   {len(rows)} seeds")


def means(known: dict[Job, list[float | None]], contestant: str) -> dict[int, np.ndarray]:
    """Return means over the problems, by seed, if all were run; no result counts as 1.5."""
    mine = {job: found for job, found in known.items() if job.contestant == contestant}
    problems = {job.problem for job in known}
    found = {}
    for seed in sorted({job.seed for job in mine}):
        rows = [filled(one) for job, one in mine.items() if job.seed == seed]
        if len(rows) == len(problems):
            found[seed] = np.mean(rows, axis=0)
    return found


def filled(regrets: Iterable[float | None]) -> list[float]:
    return [1.5 if one is None else one for one in regrets]


def _t(count: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, count - 1))


if __name__ == "__main__":
    sys.exit(main())
