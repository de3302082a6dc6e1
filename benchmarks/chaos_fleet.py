"""A fleet under attack: workers are killed, stopped, told to end; the database loses connections.

A sweep of short trials on digits is served by several workers while faults are injected at random.
At the end every trial must be there once, with a curve without gap or duplicate, and with exactly
the values of an undisturbed run of the same recipe and seed.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos_study import LEASE, NAME, Arena, Cost, undisturbed
from postgres import serve

from lrsearch.workers.exit_codes import ExitCode

SILENCE = 3 * LEASE
"""Seconds for which a worker is stopped (SIGSTOP)."""
FAULTS = {"kill": 4, "stop": 3, "terminate": 3, "disconnect": 3, "restart": 2}
"""Kinds of faults, each with its relative frequency."""
OF_A_SERVER = ("disconnect", "restart")
"""Kinds of faults that need a database server."""


@dataclass
class Worker:
    """A worker process."""

    process: subprocess.Popen[bytes]
    log: Path
    asked_to_end: bool = False
    wakes_at: float | None = None
    """When a stopped worker is to be woken (SIGCONT)."""

    def has_begun(self) -> bool:
        """Return whether it has begun a trial."""
        return ", trial " in self.log.read_text(errors="replace")


class Fleet(Arena):
    """Workers on one database, and the faults that are injected into them."""

    def __init__(
        self, folder: Path, url: str | None, size: int, rng: random.Random, server: Any = None
    ) -> None:
        super().__init__(folder, url)
        self.size, self.rng, self.server = size, rng, server
        self.workers: list[Worker] = []
        self.injected: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.started = 0

    def hire(self) -> None:
        """Start workers until the fleet has its size."""
        while len(self.workers) < self.size:
            path = self.folder / f"worker-{self.started}.log"
            log = path.open("wb")
            self.started += 1
            process = subprocess.Popen(
                [sys.executable, "-m", "lrsearch", "worker", "--sweep", NAME, "--until-empty"],
                cwd=self.folder, env=self.environment(), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
            self.workers.append(Worker(process, path))

    def mind(self) -> None:
        """Wake stopped workers that are due, and remove those that have ended."""
        for worker in list(self.workers):
            if worker.wakes_at is not None and time.monotonic() > worker.wakes_at:
                worker.process.send_signal(signal.SIGCONT)
                worker.wakes_at = None
            code = worker.process.poll()
            if code is None:
                continue
            self.workers.remove(worker)
            if code not in (ExitCode.DONE, ExitCode.HANDED_BACK, -signal.SIGKILL):
                log = worker.log.read_text(errors="replace").strip().splitlines()
                self.wrong.append(f"worker {worker.process.pid} ended with {code}: {log[-1:]}")

    def inject(self, kinds: list[str]) -> None:
        """Inject one random fault of these kinds."""
        kind = self.rng.choices(kinds, [FAULTS[kind] for kind in kinds])[0]
        # Without a trial there is nothing to test: on a busy machine all would die while importing.
        awake = [
            one for one in self.workers
            if one.wakes_at is None and not one.asked_to_end and one.has_begun()
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


def fleet(folder: Path, options: argparse.Namespace, kinds: list[str]) -> list[Cost]:
    """Run a fleet under faults of these kinds; return their costs together."""
    plain = undisturbed(
        folder / "undisturbed", f"study.n_trials={options.trials}", f"train.epochs={options.epochs}"
    )
    fleet = make_fleet(options, folder / "fleet", random.Random(options.seed))
    try:
        seconds = attack(fleet, plain.sweep, options, kinds)
        cost = Cost("fleet, all of these")
        plain.compare(fleet, cost)
        cost.wrong += examine(fleet, options) + fleet.wrong
    finally:
        fleet.end()
        if fleet.server is not None:
            fleet.server.cleanup()
    cost.faults = sum(fleet.injected.values())
    print(f"{fleet.started} worker processes, {seconds:.0f} s", flush=True)
    return [*(Cost(f"  {kind}", count) for kind, count in sorted(fleet.injected.items())), cost]


def make_fleet(options: argparse.Namespace, folder: Path, rng: random.Random) -> Fleet:
    if options.database == "sqlite":
        return Fleet(folder, None, options.workers, rng)
    data = Path(tempfile.mkdtemp(prefix="lrchaospg-"))
    # The machine itself stays up: a restart on a busy disk is not to outlast a worker's patience.
    server, url = serve(data, "fsync = off")
    return Fleet(folder, url, options.workers, rng, server)


def attack(
    fleet: Fleet, sweep: tuple[str, ...], options: argparse.Namespace, kinds: list[str]
) -> float:
    """Let the fleet work under faults until all is done; return the seconds it took."""
    if code := fleet.run("submit", *sweep):
        raise SystemExit(f"submit ended with {code}:\n{fleet.said()}")
    started = shown = time.monotonic()
    next_fault = started + options.first
    while (left := unfinished(fleet)) != 0:
        now = time.monotonic()
        if now - started > options.limit:
            raise SystemExit(f"not done after {options.limit:g} s: {left} units left")
        fleet.hire()
        fleet.mind()
        if next_fault < now < started + options.attack:
            fleet.inject(kinds)
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
    rows = fleet.ask("select count(*) from lrsearch_units where state != 'done'")
    return int(rows[0][0]) if rows else -1  # the server is just being restarted


def examine(fleet: Fleet, options: argparse.Namespace) -> list[str]:
    """Return a line for each problem other than wrong results."""
    trials = fleet.ask("select number, state from trials order by number")
    projected = fleet.ask("select count(*) from trial_intermediate_values")[0][0]
    curves = {number: one[3] for number, one in fleet.results().items() if isinstance(number, int)}
    steps = sum(map(len, curves.values()))
    numbers = [number for number, _ in trials]
    return [
        *([] if numbers == list(range(options.trials)) else [f"trial numbers: {numbers}"]),
        *(f"trial {number} is {state}" for number, state in trials
          if state not in ("COMPLETE", "PRUNED", "FAIL")),
        *(f"the curve of {number} has a gap or a duplicate" for number, curve in curves.items()
          if [row[0] for row in curve] != list(range(1, len(curve) + 1))),
        *([] if projected == steps else [f"Optuna has {projected} of {steps} evaluations"]),
    ]  # fmt: skip
