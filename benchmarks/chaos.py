"""A fleet under attack: workers are killed, stopped, told to end; the database loses connections.

A sweep of short trials on digits is served by several workers while faults are injected at random.
At the end every trial must be there once, with a curve without gap or duplicate, and with exactly
the values of an undisturbed run of the same recipe and seed. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postgres import serve
from sqlalchemy import create_engine, text

LEASE = 3.0
"""Seconds; short, so that many leases run out in a run of minutes."""
SILENCE = 3 * LEASE
"""How long a stopped worker stays stopped."""
SWEEP = (
    "+sweep=digits", "sampler=random", "pruner=none", "train.keep_best=0",
    # What a unit may suffer is not what is tested here.
    "queue.max_attempts=1000", f"queue.lease={LEASE:g}",
    # Trainings of seconds are not saved by themselves.
    "train.checkpoint_every=50",
)  # fmt: skip
FAULTS = {"kill": 4, "stop": 3, "terminate": 3, "disconnect": 3, "restart": 2}
"""Kinds of faults, and how often each is chosen."""


@dataclass
class Worker:
    """A worker process."""

    process: subprocess.Popen[bytes]
    log: Path
    started: float = field(default_factory=time.monotonic)
    asked_to_end: bool = False
    wakes_at: float | None = None
    """When a stopped one is woken."""


@dataclass
class Fleet:
    """Workers on one database, and what is done to them."""

    folder: Path
    url: str
    size: int
    rng: random.Random
    server: Any = None
    workers: list[Worker] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    started: int = 0

    def lrsearch(self, *arguments: str) -> None:
        """Runs a command to its end."""
        subprocess.run(
            [sys.executable, "-m", "lrsearch", *arguments],
            cwd=self.folder, env=self.environment(), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LRSEARCH_STORAGE": self.url,
                "LRSEARCH_CHECKPOINTS": str(self.folder / "checkpoints")}  # fmt: skip

    def hire(self) -> None:
        """Brings the fleet up to its size."""
        while len(self.workers) < self.size:
            path = self.folder / f"worker-{self.started}.log"
            log = path.open("wb")
            self.started += 1
            process = subprocess.Popen(
                [sys.executable, "-m", "lrsearch", "worker", "--sweep", "chaos", "--until-empty"],
                cwd=self.folder, env=self.environment(), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
            self.workers.append(Worker(process, path))

    def mind(self) -> None:
        """Wakes those whose time has come, and takes away those that ended."""
        for worker in list(self.workers):
            if worker.wakes_at is not None and time.monotonic() > worker.wakes_at:
                worker.process.send_signal(signal.SIGCONT)
                worker.wakes_at = None
            code = worker.process.poll()
            if code is None:
                continue
            self.workers.remove(worker)
            if code not in (0, -signal.SIGKILL):
                log = worker.log.read_text(errors="replace").strip().splitlines()
                self.wrong.append(f"worker {worker.process.pid} ended with {code}: {log[-1:]}")

    def inject(self) -> None:
        """One fault, at random."""
        kinds = [kind for kind in FAULTS if self.server is not None or kind not in
                 ("disconnect", "restart")]  # fmt: skip
        kind = self.rng.choices(kinds, [FAULTS[kind] for kind in kinds])[0]
        ready = time.monotonic() - 3.0  # Python itself must have begun, to hear signals
        awake = [
            one for one in self.workers
            if one.wakes_at is None and not one.asked_to_end and one.started < ready
        ]  # fmt: skip
        if kind == "disconnect":
            self.server.psql(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'lrsearch'"
            )
        elif kind == "restart":
            self.server.stop()
            self.server.start()
        elif not awake:
            return
        else:
            victim = self.rng.choice(awake)
            if kind == "kill":
                victim.process.kill()
            elif kind == "stop":
                victim.process.send_signal(signal.SIGSTOP)
                victim.wakes_at = time.monotonic() + SILENCE
            else:
                victim.process.send_signal(self.rng.choice([signal.SIGTERM, signal.SIGUSR1]))
                victim.asked_to_end = True
        self.injected[kind] += 1

    def end(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()


def main() -> None:
    options = read_options()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="lrchaos-") as name:
        folder = Path(name)
        print(f"undisturbed: {options.trials} trials", flush=True)
        sweep = (*SWEEP, f"study.n_trials={options.trials}", f"train.epochs={options.epochs}")
        expected = undisturbed(folder / "undisturbed", sweep)
        fleet = make_fleet(options, folder / "chaos", rng)
        try:
            seconds = attack(fleet, sweep, options)
            findings = examine(fleet, options, expected)
        finally:
            fleet.end()
            if fleet.server is not None:
                fleet.server.cleanup()
    report(fleet, findings, seconds)
    if any(findings.values()):
        sys.exit(1)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--workers", type=int, help="default 8, or 4 on SQLite")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20, help="of a trial")
    parser.add_argument("--first", type=float, default=15.0, help="seconds to the first fault")
    parser.add_argument("--every", type=float, default=4.0, help="seconds between faults, mean")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds that it may take")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    options = parser.parse_args()
    options.workers = options.workers or (8 if options.database == "postgresql" else 4)
    return options


def undisturbed(folder: Path, sweep: tuple[str, ...]) -> dict[int, Any]:
    """Recipe, value and curve of each unit of the same sweep that nobody disturbs."""
    folder.mkdir()
    url = f"sqlite:///{folder / 'lrsearch.db'}"
    fleet = Fleet(folder, url, 0, random.Random(0))
    fleet.lrsearch(*sweep, "study.name=chaos", f"storage.url={url}")
    return results(url)


def results(url: str) -> dict[int, Any]:
    """Of each unit: its recipe, outcome, value and curve."""
    engine = create_engine(url)
    with engine.connect() as connection:
        units = connection.execute(
            text("select number, recipe, outcome, value, trial_id from lrsearch_units")
        ).all()
        curves: dict[int, list[tuple[Any, ...]]] = {}
        for trial_id, *row in connection.execute(
            text("select trial_id, evaluation, step, val_loss, train_loss, lr_end "
                 "from lrsearch_epochs order by trial_id, evaluation")
        ):  # fmt: skip
            curves.setdefault(trial_id, []).append(tuple(row))
    engine.dispose()
    return {
        number: (json.loads(recipe) if isinstance(recipe, str) else recipe, outcome, value,
                 curves.get(trial_id, []))
        for number, recipe, outcome, value, trial_id in units
    }  # fmt: skip


def make_fleet(options: argparse.Namespace, folder: Path, rng: random.Random) -> Fleet:
    folder.mkdir()
    if options.database == "sqlite":
        return Fleet(folder, f"sqlite:///{folder / 'lrsearch.db'}", options.workers, rng)
    data = Path(tempfile.mkdtemp(prefix="lrchaospg-"))
    # The machine itself stays up: a restart on a busy disk is not to outlast a worker's patience.
    server, url = serve(data, "fsync = off")
    return Fleet(folder, url, options.workers, rng, server)


def attack(fleet: Fleet, sweep: tuple[str, ...], options: argparse.Namespace) -> float:
    """Lets the fleet work under faults until all is done; the seconds it took."""
    fleet.lrsearch("submit", *sweep, "study.name=chaos", f"storage.url={fleet.url}")
    started = shown = time.monotonic()
    next_fault = started + options.first
    while (left := unfinished(fleet)) != 0:
        now = time.monotonic()
        if now - started > options.limit:
            raise SystemExit(f"not done after {options.limit:g} s: {left} units left")
        fleet.hire()
        fleet.mind()
        if now > next_fault:
            fleet.inject()
            next_fault = now + fleet.rng.expovariate(1 / options.every)
        if now - shown > 10:
            shown = now
            print(f"{now - started:5.0f} s: {left} units left, faults {dict(fleet.injected)}",
                  flush=True)  # fmt: skip
        time.sleep(0.2)
    seconds = time.monotonic() - started
    while fleet.workers:  # the others find out, and those that were stopped wake up
        fleet.mind()
        time.sleep(0.2)
    return seconds


def unfinished(fleet: Fleet) -> int:
    engine = create_engine(fleet.url)
    try:
        with engine.connect() as connection:
            done = text("select count(*) from lrsearch_units where state != 'done'")
            return int(connection.execute(done).scalar_one())
    except Exception:  # noqa: BLE001 - the server is just being restarted
        return -1
    finally:
        engine.dispose()


def examine(
    fleet: Fleet, options: argparse.Namespace, expected: dict[int, Any]
) -> dict[str, list[str]]:
    """What was found wrong, by kind."""
    engine = create_engine(fleet.url)
    with engine.connect() as connection:
        trials = connection.execute(text("select number, state from trials order by number")).all()
        projected = connection.execute(
            text("select count(*) from trial_intermediate_values")
        ).scalar_one()
    engine.dispose()
    found = results(fleet.url)
    steps = sum(len(curve) for *_, curve in found.values())
    return {
        "trial numbers": [] if [number for number, _ in trials] == list(range(options.trials))
        else [f"{len(trials)} trials"],
        "trials not finished": [
            str(number) for number, state in trials
            if state not in ("COMPLETE", "PRUNED", "FAIL")
        ],
        "curves with gap or duplicate": [
            str(number) for number, (*_, curve) in found.items()
            if [row[0] for row in curve] != list(range(1, len(curve) + 1))
        ],
        "Optuna's rows differ": [] if projected == steps else [f"{projected} for {steps}"],
        "not equal to the undisturbed run": [
            str(number) for number in expected if found.get(number) != expected[number]
        ],
        "workers that ended badly": fleet.wrong,
    }  # fmt: skip


def report(fleet: Fleet, findings: dict[str, list[str]], seconds: float) -> None:
    """The table of faults injected and found."""
    print(f"\n{fleet.started} worker processes, {seconds:.0f} s")
    print("injected: " + ", ".join(f"{count} {kind}" for kind, count in fleet.injected.items()))
    for kind, found in findings.items():
        print(f"  {kind:34} {len(found):3}  {', '.join(found[:5])}")


if __name__ == "__main__":
    main()
