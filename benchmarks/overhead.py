"""Overhead of lrsearch, compared with no tuner at all and with other tuners.

Twelve fixed recipes are trained on MNIST by a hand-written loop (`bare`), by lrsearch, and in the
style of the examples of Optuna and of Ray Tune; each in a process of its own, in turns.

The goals are printed beside the measured ratios; missing one does not fail the run. It does fail
when the contestants have not trained the same thing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import compare
import task
import with_lrsearch
from compare import Run
from machine import describe_machine
from task import Task, Trial

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results" / "overhead.json"
ROUNDS, SLOW_ROUNDS, QUICK_ROUNDS, QUICK_SLOW_ROUNDS = 10, 3, 2, 1
EPOCHS = 3
LONGEST_RUN = 1800.0
"""Seconds after which a contestant counts as hung."""


@dataclass(frozen=True)
class Contestant:
    """A way to train the recipes: how to prepare it, start it, and collect its trials."""

    command: Callable[[Task, Path], list[str]]
    collect: Callable[[Path], list[Trial]]
    slow: bool = False
    """Whether it takes minutes; its ratio is so large that few rounds suffice."""


def _program(name: str) -> Callable[[Task, Path], list[str]]:
    def command(given: Task, folder: Path) -> list[str]:
        given.write(folder / "task.json")
        return [sys.executable, str(HERE / name), "task.json"]

    return command


def _lrsearch(given: Task, folder: Path) -> list[str]:
    with_lrsearch.write_sweep(folder)
    return with_lrsearch.command(given)


CONTESTANTS = {
    "bare": Contestant(_program("bare.py"), task.collect),
    "lrsearch": Contestant(_lrsearch, with_lrsearch.collect),
    "optuna": Contestant(_program("with_optuna.py"), task.collect, slow=True),
    "ray": Contestant(_program("with_ray.py"), task.collect, slow=True),
}


def main() -> None:
    options = read_options()
    machine = describe_machine()  # now, while the load is that of other programs
    with tempfile.TemporaryDirectory(prefix="lrb-") as name:
        folder = Path(name)
        # One cache for all rounds: it is filled once on a machine, not once for each sweep.
        environment = {**os.environ, "LRSEARCH_CACHE": str(folder / "cache")}
        data = prepare_data(folder / "data")
        prepare_lrsearch(Task(str(data), options.hidden, EPOCHS, 0), folder, environment)
        runs = []
        for number in range(options.rounds):
            given = Task(str(data), options.hidden, EPOCHS, seed=number + 1)
            for contestant in turns(options, number):
                runs.append(run(contestant, number, given, folder, environment))
                show(runs[-1])
    problems = compare.differences(runs, Task("", options.hidden, EPOCHS, 0))
    results = compare.summary(runs)
    print(compare.table(results, runs, machine))
    if problems:
        sys.exit("NOT THE SAME TRAINING, the ratios mean nothing:\n  " + "\n  ".join(problems))
    if options.output is not None:
        record = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine,
            "busy": compare.is_busy(runs),
            "hidden": options.hidden,
            "epochs": EPOCHS,
            "recipes": [vars(recipe) for recipe in task.RECIPES],
            "results": [asdict(result) for result in results],
            "runs": [asdict(one) for one in runs],
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(record, indent=1) + "\n")
        print(f"\nraw numbers: {options.output}")


def read_options() -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, help=f"of bare and lrsearch; default {ROUNDS}, at least 1"
    )
    parser.add_argument(
        "--slow-rounds",
        type=int,
        help=f"of optuna and ray; default {SLOW_ROUNDS}, at most as many as --rounds",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_ROUNDS} rounds, {QUICK_SLOW_ROUNDS} of optuna and ray: does it work at all?",
    )
    parser.add_argument(
        "--only",
        default=",".join(CONTESTANTS),
        metavar="A,B",
        help="contestants, of: %(default)s; bare always runs, as the mark for the others",
    )
    parser.add_argument(
        "--hidden", default="256,128", metavar="N,N", help="hidden widths; default %(default)s"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"file of the raw numbers; {RECORD.relative_to(HERE.parent)} after a whole run of "
        f"the default task, otherwise none by default",
    )
    options = parser.parse_args()
    whole = options.rounds is None and options.slow_rounds is None and not options.quick
    for name in ("rounds", "slow_rounds"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: at least 1")
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    options.slow_rounds = options.slow_rounds or (
        QUICK_SLOW_ROUNDS if options.quick else SLOW_ROUNDS
    )
    options.only = options.only.split(",")
    wrong = [name for name in options.only if name not in CONTESTANTS]
    if wrong:
        parser.error(f"--only: no contestant {wrong[0]!r}; there: {', '.join(CONTESTANTS)}")
    try:
        options.hidden = [int(width) for width in options.hidden.split(",")]
    except ValueError:
        parser.error("--hidden: whole numbers with commas between them, such as 64,32")
    whole = whole and options.hidden == [256, 128] and len(options.only) == len(CONTESTANTS)
    if whole and options.output is None:
        options.output = RECORD
    return options


def prepare_data(folder: Path) -> Path:
    """Unpack MNIST into `folder` for torchvision: from $LRSEARCH_DATA, or downloaded."""
    from torchvision.datasets import MNIST

    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    given = Path(os.environ.get("LRSEARCH_DATA", "data")) / "MNIST" / "raw"
    for file in given.glob("*-ubyte"):
        shutil.copyfile(file, raw / file.name)
    for archive in given.glob("*-ubyte.gz"):
        with gzip.open(archive) as packed, (raw / archive.stem).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    MNIST(str(folder), download=True)  # only if something is missing
    return folder


def prepare_lrsearch(given: Task, folder: Path, environment: dict[str, str]) -> None:
    """Fill lrsearch's cache of the data, which takes seconds once."""
    here = folder / "prepare"
    here.mkdir()
    launch([*_lrsearch(given, here), "dry_run=true"], here, environment)


def turns(options: argparse.Namespace, number: int) -> list[str]:
    """Return the contestants of a round; odd rounds are reversed, to cancel a slow drift."""
    chosen = [
        name
        for name, one in CONTESTANTS.items()
        if name == "bare"
        or (name in options.only and (not one.slow or number < options.slow_rounds))
    ]
    return chosen if number % 2 == 0 else chosen[::-1]


def run(name: str, number: int, given: Task, folder: Path, environment: dict[str, str]) -> Run:
    """Run a contestant once, in a fresh working directory."""
    here = folder / f"{name}-{number}"
    here.mkdir()
    contestant = CONTESTANTS[name]
    command = contestant.command(given, here)
    start, cpu = time.time(), cpu_of_children()  # the clock of the trials' timestamps
    launch(command, here, environment)
    total, cpu = time.time() - start, cpu_of_children() - cpu
    trials = contestant.collect(here)
    if not trials:
        sys.exit(f"{name} finished without a trial")
    first, last = min(trial.start for trial in trials), max(trial.end for trial in trials)
    return Run(name, number, first - start, last - first, total, cpu, trials)


def cpu_of_children() -> float:
    """Return the processor time of all finished children so far, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def launch(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run a program to its end; if it fails, exit with its last lines."""
    log = folder / "log.txt"
    with log.open("wb") as output:
        code = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=LONGEST_RUN,
        ).returncode
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        sys.exit(f"exit code {code} of {' '.join(command)}:\n{tail}")


def show(one: Run) -> None:
    """Print a line of progress."""
    print(
        f"round {one.round + 1}: {one.contestant:9} start-up {one.startup:5.1f} s, "
        f"work {one.work:6.1f} s, total {one.total:6.1f} s, processor time {one.cpu:6.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
