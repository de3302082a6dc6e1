"""Faults of every kind, injected into real sweeps: what each costs, and that nothing is lost.

`--only KIND`, which may be given more than once, leaves out the other kinds. Exit code 1 if
anything is wrong. A full disk needs root (to mount a small tmpfs); without, it is skipped with a
note.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chaos_code import disk_full, hung, recipe_errors, user_errors
from chaos_fleet import FAULTS, OF_A_SERVER, fleet
from chaos_kills import auxiliary_runs, creation, two_parents, upgrade
from chaos_study import Cost, Undisturbed, undisturbed
from postgres import serve

KINDS = (
    "creation", "range_test", "confirmation", "upgrade", "two_parents", "disk_full", "hung",
    "user_errors",
)  # fmt: skip
"""Kinds of faults other than those of a fleet."""


class Faults:
    """Injects the faults of each kind, in a folder of its own."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.rng = random.Random(options.seed)

    @functools.cached_property
    def plain(self) -> Undisturbed:
        """An undisturbed small sweep."""
        return undisturbed(self.folder / "plain", "study.n_trials=4", "train.epochs=3")

    @functools.cached_property
    def whole(self) -> Undisturbed:
        """An undisturbed sweep with a range test and a confirmation."""
        return undisturbed(
            self.folder / "whole", "study.n_trials=4", "train.epochs=12", "space.lr=auto",
            "space.optimizer.adamw.lr=auto", "confirm={top: 2, seeds: 2}",
        )  # fmt: skip

    @functools.cached_property
    def new_database(self) -> Callable[[], str] | None:
        """Return a function that creates a new database on a server; None for SQLite."""
        if self.options.database != "postgresql":
            return None
        server, url = serve(Path(tempfile.mkdtemp(prefix="lrchaospg-")), "fsync = off")
        names = iter(range(1000))

        def new() -> str:
            name = f"chaos_{next(names)}"
            server.psql(f"CREATE DATABASE {name}")
            return url.replace("/postgres?", f"/{name}?", 1)

        self._server = server
        return new

    def run(self, kind: str) -> list[Cost]:
        """Inject the faults of one kind."""
        folder, short = self.folder / f"of-{kind}", self.options.short
        points = 4 if short else 10
        if kind == "creation":
            return [creation(folder, self.plain, points, self.rng)]
        if kind in ("range_test", "confirmation"):
            stored = {"range_test": "range_test", "confirmation": "confirm"}[kind]
            return [auxiliary_runs(folder, stored, self.whole, self.rng, 1 if short else 2)]
        if kind == "upgrade":
            return [upgrade(folder, self.plain, 8 if short else 64, self.rng)]
        if kind == "two_parents":
            return [two_parents(folder, self.plain, 1 if short else 4, self.new_database)]
        if kind == "disk_full":
            return [disk_full(folder, self.plain)]
        if kind == "hung":
            return [hung(folder, short)]
        assert kind == "user_errors", kind
        costs = [user_errors(folder / "sqlite", None), recipe_errors(folder / "recipes")]
        if self.new_database is not None:
            costs.append(user_errors(folder / "postgresql", self.new_database()))
        return costs

    def close(self) -> None:
        """Stop the server, if there is one."""
        if "new_database" in self.__dict__ and self.new_database is not None:
            self._server.cleanup()


def main() -> None:
    options = read_options()
    started = time.monotonic()
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="lrchaos-", ignore_cleanup_errors=True) as name:
        faults = Faults(Path(name), options)
        try:
            for kind in options.others:
                print(f"{kind} ...", flush=True)
                costs += faults.run(kind)
                report(costs[-1:])
            if options.of_fleet:
                print(f"a fleet: {', '.join(options.of_fleet)} ...", flush=True)
                costs += fleet(Path(name) / "of-fleet", options, options.of_fleet)
        finally:
            faults.close()
    print(f"\nall in all, after {time.monotonic() - started:.0f} s:")
    report(costs)
    if any(one.wrong or one.lost for one in costs):
        sys.exit(1)


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*KINDS, "fleet", *FAULTS]
    parser.add_argument("--only", action="append", choices=known, metavar="KIND",
                        help=f"of {', '.join(known)}; fleet is all after it")  # fmt: skip
    parser.add_argument("--short", action="store_true", help="fewer points and rounds")
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--workers", type=int, help="of the fleet; default 6, or 4 on SQLite")
    parser.add_argument("--trials", type=int, default=60, help="of the fleet")
    parser.add_argument("--epochs", type=int, default=20, help="of a trial of the fleet")
    parser.add_argument("--first", type=float, default=15.0, help="seconds to the first fault")
    parser.add_argument("--every", type=float, default=4.0, help="seconds between faults, mean")
    parser.add_argument("--attack", type=float, default=150.0, help="seconds of faults, at most")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds that a fleet may take")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    options = parser.parse_args()
    options.workers = options.workers or (6 if options.database == "postgresql" else 4)
    only = options.only or [*KINDS, "fleet"]
    options.others = [kind for kind in KINDS if kind in only]
    possible = [
        kind for kind in FAULTS if options.database == "postgresql" or kind not in OF_A_SERVER
    ]
    options.of_fleet = [kind for kind in possible if kind in only or "fleet" in only]
    return options


def report(costs: list[Cost]) -> None:
    """Print a table of the faults and their costs."""
    print(f"  {'faults':40} {'number':>6} {'attempts':>9} {'seconds again':>14} {'lost':>5}")
    for cost in costs:
        print(f"  {cost.kind:40} {cost.faults:6} {cost.attempts:9} {cost.seconds:14.1f} "
              f"{cost.lost:5}")  # fmt: skip
        for wrong in cost.wrong:
            print(f"    WRONG: {wrong}")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
