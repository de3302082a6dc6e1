"""Cost of the database for a fleet: claims per second, and how long an evaluation takes to store.

Simulated workers, processes that train nothing, claim trial slots and write one evaluation a second
each, with a pruning decision (`--pruner`) on every one, in a study with many finished trials.
Optuna's own report and should_prune are timed on the same trials.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy
import optuna
from optuna.storages._rdb import models
from optuna.trial import TrialState
from postgres import serve
from sqlalchemy import insert, text

from lrsearch.queue.endings import Ending
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaim, TrialClaims
from lrsearch.registry import ComponentConfig
from lrsearch.states import Outcome, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.engine import connect
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.tables import EvaluationRow, StudyRow, TrialSlotRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.history import open_history
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.pruners.rules import Running
from lrsearch.tuning.trajectory import LrTrajectory

EVALUATIONS = 25
"""Number of evaluations of a whole trial."""
DECIDED = range(5, 23)
"""Evaluations at which the default pruner may end a trial; only these are timed."""
RATES_LEFT = [0.1 * (1 - count / EVALUATIONS) for count in range(1, EVALUATIONS + 1)]
RECIPE = {"lr": 0.1, "batch_size": 64, "optimizer": {"name": "sgd"}}
GOAL_P50, GOAL_P99 = 15.0, 100.0
"""Milliseconds, for 64 workers beside 10,000 finished trials."""
_LONGEST_START = 60.0
"""Seconds in which all simulated workers must have started."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="1,8,64")
    parser.add_argument("--finished", default="0,1000,10000")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--seconds", type=float, default=15.0,
                        help=f"of each measurement, at most {len(DECIDED) - 1}")  # fmt: skip
    parser.add_argument("--pruner", default="schedule_aware")
    parser.add_argument("--output", type=Path, help="file of the raw numbers")
    options = parser.parse_args()
    if options.seconds > len(DECIDED) - 1:
        parser.error(f"--seconds: at most {len(DECIDED) - 1}, later nothing is decided")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows = []
    print(f"{'database':10} {'finished':>8} {'workers':>7} {'claims/s':>9} "
          f"{'p50 ms':>7} {'p99 ms':>7}   Optuna's report + should_prune, one worker")  # fmt: skip
    for kind in options.databases.split(","):
        for finished in map(int, options.finished.split(",")):
            folder = Path(tempfile.mkdtemp(prefix="lrcost-"))
            server, url = start(kind, folder)
            study_id = fill(url, finished)
            theirs = time_optuna(url, finished)
            for workers in map(int, options.workers.split(",")):
                row = measure(url, study_id, workers, options.seconds, options.pruner)
                rows.append({"database": kind, "finished": finished, "workers": workers,
                             "pruner": options.pruner, "seconds": options.seconds, **row,
                             "optuna_ms": theirs})  # fmt: skip
                print(f"{kind:10} {finished:8} {workers:7} {row['claims_per_second']:9.0f} "
                      f"{row['p50_ms']:7.1f} {row['p99_ms']:7.1f}   {theirs:.1f} ms",
                      flush=True)  # fmt: skip
            if server is not None:
                server.cleanup()
            shutil.rmtree(folder, ignore_errors=True)
    missed = [
        row for row in rows
        if row["workers"] == 64 and row["finished"] == 10_000
        and (row["p50_ms"] > GOAL_P50 or row["p99_ms"] > GOAL_P99)
    ]  # fmt: skip
    print(
        f"goal, 64 workers beside 10,000 trials: p50 <= {GOAL_P50:g} ms, p99 <= {GOAL_P99:g} ms: "
        f"{'NOT MET on ' + ', '.join(row['database'] for row in missed) if missed else 'met'}"
    )
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


def start(kind: str, folder: Path) -> tuple[Any, str]:
    """Create an empty database; return its server and URL."""
    if kind == "sqlite":
        return None, f"sqlite:///{folder / 'cost.db'}"
    return serve(folder / "pg", "max_connections = 300")


def fill(url: str, finished: int) -> int:
    """Create a study with `finished` complete trials; return its id."""
    studies = Studies(url)
    database = Database(url, studies.engine)
    study_id = studies.create("cost", "min", "val_loss")
    values = numpy.random.default_rng(0).random((finished, EVALUATIONS))
    with database.session.begin() as session:
        session.add(StudyRow(study_id=study_id, name="cost", config={}, record={},
                             finished=finished))  # fmt: skip
        session.flush()
        for first in range(0, finished, 1000):
            numbers = range(first, min(first + 1000, finished))
            session.execute(insert(models.TrialModel), [
                {"trial_id": n + 1, "number": n, "study_id": study_id,
                 "state": TrialState.COMPLETE} for n in numbers
            ])  # fmt: skip
            session.execute(insert(TrialSlotRow), [
                {"study_id": study_id, "number": n, "seed": n, "state": WorkState.DONE,
                 "params": {},
                 "outcome": Outcome.COMPLETE, "trial_id": n + 1, "trial_number": n, "attempts": 1,
                 "deaths": 0, "value": float(values[n, -1]), "finish_order": n + 1,
                 "recipe": RECIPE}
                for n in numbers
            ])  # fmt: skip
            session.execute(insert(EvaluationRow), [
                evaluation(study_id, n + 1, k + 1, float(values[n, k]), complete=True)
                for n in numbers for k in range(EVALUATIONS)
            ])  # fmt: skip
            session.execute(insert(models.TrialIntermediateValueModel), [
                {"trial_id": n + 1, "step": k + 1, "intermediate_value": float(values[n, k]),
                 "intermediate_value_type":
                     models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE}
                for n in numbers for k in range(EVALUATIONS)
            ])  # fmt: skip
        if "postgresql" in url:
            session.execute(text(
                "select setval(pg_get_serial_sequence('trials', 'trial_id'), :next)"
            ), {"next": finished + 1})  # fmt: skip
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    studies.close()
    return study_id


def evaluation(
    study_id: int, trial_id: int, count: int, value: float, complete: bool = False
) -> dict[str, Any]:
    return {
        "trial_id": trial_id, "study_id": study_id, "step": count, "evaluation": count,
        "value": value, "complete": complete, "epoch": float(count), "train_loss": value,
        "val_loss": value, "lr_start": 0.1, "lr_end": 0.1, "grad_norm": None, "seconds": 1.0,
        "metrics": {}, "bracket": None, "moment": count, "progress": min(1.0, count / EVALUATIONS),
        "rate_left": RATES_LEFT[min(count, EVALUATIONS) - 1],
    }  # fmt: skip


def time_optuna(url: str, finished: int) -> float:
    """Return the median milliseconds of Optuna's own report and decision, without the first."""
    study = optuna.load_study(study_name="cost", storage=url, pruner=optuna.pruners.MedianPruner())
    trial, times = study.ask(), []
    for count in range(1, EVALUATIONS + 1):
        started = time.perf_counter()
        trial.report(0.5, count)
        trial.should_prune()
        times.append(1000 * (time.perf_counter() - started))
    study.tell(trial, state=TrialState.FAIL)
    return float(numpy.median(times[1:]))


def measure(url: str, study_id: int, workers: int, seconds: float, pruner: str) -> dict[str, float]:
    """Measure claims per second, then the latency of one evaluation a second per worker."""
    claims = sum(map(len, together(claim_all, url, study_id, workers, min(seconds, 5.0))))
    evaluated = together(partial(evaluate, pruner), url, study_id, workers, seconds)
    waits = [wait for one in evaluated for wait in one]
    return {
        "claims_per_second": claims / min(seconds, 5.0),
        "p50_ms": float(numpy.percentile(waits, 50)),
        "p99_ms": float(numpy.percentile(waits, 99)),
        "evaluations": len(waits),
    }


Simulated = Callable[[TrialClaims, float, int, Barrier], list[float]]


def together(
    work: Simulated, url: str, study_id: int, workers: int, seconds: float
) -> list[list[float]]:
    """Run simulated workers, a process each; return their results."""
    engine = connect(url)
    database = Database(url, engine)
    queue = Queue(database.session, study_id)
    # Enough slots for all workers, and none left for the next measurement.
    queue.trim(0)
    first = queue.total()
    queue.add([({}, n) for n in range(4000 if work is claim_all else workers)], first=first)
    engine.dispose()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(workers, timeout=_LONGEST_START)

    def run(number: int, answer: Connection) -> None:
        own = Database(url)
        claims = TrialClaims(own.session, study_id, f"simulated/{number}/1.0", follow_up)
        claims.session().execute(text("select 1"))
        answer.send(work(claims, seconds, number, barrier))
        own.close()

    pipes = [context.Pipe(duplex=False) for _ in range(workers)]
    processes = [
        context.Process(target=run, args=(number, ours)) for number, (_, ours) in enumerate(pipes)
    ]
    for process, (_, ours) in zip(processes, pipes, strict=True):
        process.start()
        ours.close()  # so that reading notices a process that died
    found = []
    for number, (answer, _) in enumerate(pipes):
        try:
            found.append(answer.recv())
        except EOFError:
            sys.exit(f"the simulated worker {number} died")
    for process in processes:
        process.join()
        if process.exitcode:
            sys.exit(f"a simulated worker ended with {process.exitcode}")
    return found


def claim_all(claims: TrialClaims, seconds: float, number: int, all_here: Barrier) -> list[float]:
    """Claim and finish trial slots as fast as possible; return the times of the claims."""
    all_here.wait()
    end, moments = time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        claim = claims.claim(take_over=False)
        if claim is None:
            break
        moments.append(time.perf_counter())
        claims.finish(claim, Ending("pruned", 1.0), 0.0)
    return moments


def evaluate(
    pruner: str, claims: TrialClaims, seconds: float, number: int, all_here: Barrier
) -> list[float]:
    """Write one evaluation a second; return the milliseconds of each, decision included."""
    claim = claims.claim(take_over=False)
    assert claim is not None
    random = numpy.random.default_rng(number)
    first, *others = DECIDED
    values = random.random(first).tolist()
    # The first decision loads SciPy and compiles the statements: it is not timed, nor is Optuna's.
    one_evaluation(pruner, claims, claim, first, values)
    all_here.wait()  # claims and starts are not timed
    waits: list[float] = []
    time.sleep(random.random())  # so that the workers do not write all at once
    end = time.perf_counter() + seconds
    for count in others:
        started = time.perf_counter()
        if started > end:
            break
        values.append(float(random.random()))
        waits.append(one_evaluation(pruner, claims, claim, count, values))
        time.sleep(max(0.0, 1.0 - (time.perf_counter() - started)))
    claims.finish(claim, Ending("pruned", 1.0), 0.0)
    return waits


def one_evaluation(
    name: str, claims: TrialClaims, claim: TrialClaim, count: int, values: list[float]
) -> float:
    pruner = build_pruner(ComponentConfig(name), EVALUATIONS, "min")
    trajectory = LrTrajectory(EVALUATIONS, "sgd", 0.1, 64, 0.0, [0.1] * EVALUATIONS, RATES_LEFT)
    moments, progress = range(1, count + 1), min(1.0, count / EVALUATIONS)
    trial = Running(values, moments, progress, claim.number, trajectory)
    row = evaluation(claims.study_id, claim.trial_id, count, values[-1])
    started = time.perf_counter()
    claims.record(claim, [row])
    with open_history(claims.session, claims.study_id, "min") as history:
        pruner.should_prune(trial, history)
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
