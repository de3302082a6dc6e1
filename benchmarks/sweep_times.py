"""Record when the trials of short sweeps of many kinds begin, report and end.

The record, `tests/study/sweep_times.jsonl`, is the test data of the estimate of the time that a
sweep still takes (`lrsearch/study/time_left.py`). Each line is one sweep:

- `expected`: what is known of it before it begins, see `time_left.Expected`; and `workers`;
- `before`: the trials that had ended before, of a sweep that is resumed;
- `seconds`: how long it took, from its start to the end of its last training;
- `events`: every half second in which something changed, the seconds since the start, the number of
  trials in all, the running trials and the auxiliary runs, and the trials that have ended since.

All times are those of `WorkTime`: other programs on the machine hardly matter.

    python benchmarks/sweep_times.py [NAME ...] [--at-a-time 2]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lrsearch.config.load import stored_settings
from lrsearch.states import WorkState
from lrsearch.storage.database import Database, open_existing
from lrsearch.storage.tables import StudyRow
from lrsearch.study.progress import AuxiliaryRun, Finished, Progress, Running
from lrsearch.study.time_left import Expected

RECORD = Path(__file__).resolve().parent.parent / "tests" / "study" / "sweep_times.jsonl"
INTERVAL = 0.5
DATA = os.environ.get("LRSEARCH_DATA", "data")

FUNCTION = """
import math

def compute(steps):
    return sum(math.sin(step) for step in range(steps))

def train(trial):
    for epoch in range(1, int(trial.epochs) + 1):
        compute(100_000 + 10_000_000 // trial.recipe.batch_size)
        trial.report(epoch, abs(math.log10(trial.recipe.lr) + 1) + 1 / epoch)

def train_at_once(trial):
    compute(3_000_000 + 300_000_000 // trial.recipe.batch_size)
    trial.report(trial.epochs, abs(math.log10(trial.recipe.lr) + 1))
"""
SCRIPT = """
import argparse, json, math
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--epochs", type=int)
options = parser.parse_args()
for epoch in range(1, options.epochs + 1):
    sum(math.sin(k) for k in range(700_000))
    loss = abs(math.log10(options.lr) + 1) + 1 / epoch
    print(json.dumps({"lrsearch": {"epoch": epoch, "val_loss": loss, "lr": options.lr}}))
"""
PLAIN = (
    "space.optimizer={only: [sgd], sgd: {momentum: {value: 0.9}, nesterov: {value: false}}}",
    "space.scheduler={only: [constant]}",
)
SWEEPS: dict[str, tuple[str, ...]] = {
    "digits": ("+sweep=digits", "workers=1", "study.n_trials=36"),
    "digits by two": ("+sweep=digits", "workers=2", "study.n_trials=60"),
    "random, not pruned": ("+sweep=digits", "sampler=random", "pruner=none", "workers=1",
                           "study.n_trials=50"),
    "random, median pruner": ("+sweep=digits", "sampler=random", "pruner=median", "workers=2",
                              "study.n_trials=150", "train.epochs=40"),
    "grid": ("+sweep=digits", "sampler=grid", "pruner=none", "workers=1", "study.n_trials=56",
             "space.lr={low: 0.01, high: 1.0, points: 14}", "space.warmup={value: 0}",
             "space.grad_clip={value: null}", "space.weight_decay={value: 0.0}", *PLAIN),
    "confirmed": ("+sweep=digits", "workers=1", "study.n_trials=16", "confirm={top: 3, seeds: 3}"),
    "confirmed by two": ("+sweep=digits", "workers=2", "study.n_trials=24",
                         "confirm={top: 4, seeds: 4}"),
    "range test": ("+sweep=digits", "workers=1", "space.lr=auto", "study.n_trials=24"),
    "range test and confirmed": ("+sweep=digits", "workers=2", "space.lr=auto",
                                 "study.n_trials=24", "confirm={top: 3, seeds: 3}"),
    "lengths by batch size": ("+sweep=digits", "workers=1", "sampler=random", "pruner=none",
                              "space.batch_size={low: 8, high: 512}", "study.n_trials=40"),
    "lengths by batch size, pruned": ("+sweep=digits", "workers=2", "study.n_trials=36",
                                      "space.batch_size={low: 8, high: 512}"),
    "first trial large": ("+sweep=digits", "workers=1", "study.n_trials=26",
                          "study.try_first=[{batch_size: 8}]",
                          "space.batch_size={low: 8, high: 256}"),
    "asha": ("+sweep=digits", "workers=2", "study.n_trials=80", "pruner=asha"),
    "hyperband": ("+sweep=digits", "workers=1", "study.n_trials=40", "pruner=hyperband"),
    "stopped early": ("+sweep=digits", "workers=1", "train.epochs=30", "pruner=none",
                      "train.early_stopping={patience: 4}"),
    "folds": ("+sweep=digits", "workers=2", "data.folds=3", "study.n_trials=20"),
    "linear": ("+sweep=linear", "workers=1", "study.n_trials=30", "confirm={top: 2, seeds: 3}"),
    "mnist": ("+sweep=mnist", "workers=2", "study.n_trials=8", "train.epochs=3", "confirm=null",
              "space.batch_size={low: 128, high: 512}", f"data.root={DATA}"),
    "own function": ("+sweep=digits", "workers=1", "objective={_target_: own.train}",
                     "study.n_trials=30", "train.epochs=30"),
    "own script": ("+sweep=digits", "workers=2", "study.n_trials=30", "train.epochs=10",
                   'objective.command="python own_script.py --lr {lr} --epochs {epochs}"'),
    "one report a trial": ("+sweep=digits", "workers=1", "objective={_target_: own.train_at_once}",
                           "study.n_trials=30"),
    "resumed": ("+sweep=digits", "workers=1", "study.n_trials=30"),
}  # fmt: skip
"""The command lines."""
RESUMED = "resumed"
STOP_AFTER = 8
"""Number of ended trials after which the sweep that is resumed is stopped."""


@dataclass(frozen=True)
class Recorded:
    """One line of the record."""

    name: str
    expected: dict[str, Any]
    workers: int
    before: list[list[Any]]
    seconds: float
    events: list[list[Any]]


def batch_size(recipe: dict[str, Any] | None) -> int | None:
    return None if recipe is None else recipe["batch_size"]


def of_running(run: Running) -> list[Any]:
    share = None if run.share is None else round(run.share, 4)
    return [run.trial, batch_size(run.recipe), share]


def of_finished(trial: Finished, work_time: WorkTime) -> list[Any]:
    share = None if trial.share is None else round(trial.share, 4)
    seconds = work_time.latest(trial.seconds or 0.0)
    trained = None
    if trial.trained is not None and trial.seconds:
        trained = round(trial.trained * seconds / trial.seconds, 3)
    size = batch_size(trial.recipe)
    return [trial.trial, size, trial.outcome, share, trial.value, round(seconds, 3), trained]


def of_auxiliary(run: AuxiliaryRun) -> list[Any]:
    share = run.as_running().share
    return [
        run.kind, run.number, run.trial, batch_size(run.recipe), run.state, run.outcome,
        None if share is None else round(share, 4),
    ]  # fmt: skip


class WorkTime:
    """Clock of a sweep's work: the processor time of its workers, on average over the busy ones.

    On a machine that has nothing else to do, it goes as fast as any other clock, since all that is
    recorded computes without a pause. Where other programs take turns, it waits meanwhile.
    """

    def __init__(self, sweep: int) -> None:
        self._sweep = psutil.Process(sweep)
        self._used: dict[int, float] = {}
        self._walls, self._times = [time.monotonic()], [0.0]

    def __call__(self) -> float:
        """Return the seconds of work since the beginning."""
        used = {worker.pid: _processor_time(worker) for worker in self._sweep.children()}
        more = [now - self._used.get(pid, 0.0) for pid, now in used.items()]
        busy = [seconds for seconds in more if seconds > 0.2 * max(more)]
        self._used |= used
        self._walls.append(time.monotonic())
        self._times.append(self._times[-1] + (statistics.fmean(busy) if busy else 0.0))
        return self._times[-1]

    def latest(self, seconds: float) -> float:
        """Return the seconds of work in the latest `seconds` of the wall clock."""
        now, began = self._times[-1], self._walls[-1] - seconds
        return now - float(np.interp(began, self._walls, self._times))


def _processor_time(process: psutil.Process) -> float:
    """Return the processor time of a process and of all that it has started."""
    try:
        return sum(process.cpu_times()[:4]) + sum(map(_processor_time, process.children()))
    except psutil.NoSuchProcess:
        return 0.0


def started(process: subprocess.Popen[bytes], url: str, runs: int) -> tuple[Database, StudyRow]:
    """Wait until a sweep has begun to work: until its row has been written for this run."""
    while process.poll() is None:
        time.sleep(0.1)
        if not Path(url.removeprefix("sqlite:///")).exists():
            continue
        try:
            database = open_existing(url)
            with database.session() as session:
                row = session.query(StudyRow).first()
        except Exception:  # noqa: BLE001 - its tables are being made
            continue
        if row is not None and row.runs > runs:
            return database, row
        database.close()
    raise RuntimeError("the sweep did not begin")


def record(name: str) -> Recorded:
    """Run one sweep in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "own.py").write_text(FUNCTION)
        (Path(folder) / "own_script.py").write_text(SCRIPT)
        if name != RESUMED:
            return watched(name, folder)
        first = watched(name, folder, stop_after=STOP_AFTER)
        return watched(name, folder, [trial for event in first.events for trial in event[-1]])


def watched(
    name: str, folder: str, before: Sequence[list[Any]] = (), stop_after: int | None = None
) -> Recorded:
    """Run a sweep's command and record its events."""
    url = f"sqlite:///{folder}/study.db"
    with (Path(folder) / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lrsearch", *SWEEPS[name], f"storage.url={url}"],
            cwd=folder, stdout=log, stderr=log, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
    try:
        database, row = started(process, url, 1 if before else 0)
        work_time = WorkTime(process.pid)
        progress = Progress(database.session, row.study_id)
        seen = len(progress.finished())
        events: list[list[Any]] = []
        last: list[Any] = []
        seconds = 0.0
        while True:
            now = work_time()
            new = [of_finished(trial, work_time) for trial in progress.finished(seen)]
            seen += len(new)
            snapshot = progress.snapshot()
            shown = [
                snapshot.total,
                [of_running(run) for run in snapshot.running],
                [of_auxiliary(run) for run in snapshot.auxiliary_runs],
            ]
            if shown != last or new:
                events.append([round(now, 2), *shown, new])
                last, seconds = shown, now
            if stop_after is not None and seen >= stop_after:
                process.send_signal(signal.SIGINT)
                process.wait()
            if process.poll() is not None:
                break
            time.sleep(INTERVAL)
        settings = stored_settings(row.config)
        database.close()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    work_left = any(run[4] != WorkState.DONE for run in last[2]) or seen < last[0]
    if work_left and stop_after is None:
        raise RuntimeError(f"{name}:\n{(Path(folder) / 'log.txt').read_text()}")
    workers = int(next(word for word in SWEEPS[name] if word.startswith("workers=")).split("=")[1])
    return Recorded(
        name, asdict(Expected.of(settings)), workers, list(before), round(seconds, 2), events
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Record all sweeps, or the named ones, and replace their lines of the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *SWEEPS], metavar="NAME")
    parser.add_argument("--at-a-time", type=int, default=2)
    options = parser.parse_args(arguments)
    lines: dict[str, str] = {}
    if RECORD.exists():
        lines = {json.loads(line)["name"]: line for line in RECORD.read_text().splitlines()}
    with ThreadPoolExecutor(options.at_a_time) as pool:
        for done in pool.map(record, options.names or SWEEPS):
            print(f"{done.name}: {done.seconds:.1f} s, {len(done.events)} events", flush=True)
            lines[done.name] = json.dumps(asdict(done), separators=(",", ":"))
            RECORD.parent.mkdir(exist_ok=True)
            RECORD.write_text("\n".join(lines[name] for name in SWEEPS if name in lines) + "\n")


if __name__ == "__main__":
    main()
