"""Faults of the user's code, and of the disk: trainings that hang, errors of every kind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chaos_study import NAME, Arena, Cost, Undisturbed

OWN = (
    "+sweep=digits", "sampler=random", "pruner=none", f"study.name={NAME}", "workers=1",
    "train.epochs=3", "objective={_target_: chaos_own.objective}",
)  # fmt: skip
GOOD = 0.5
"""The learning rate of a trial without an error."""

_HANGS = '''
"""A training that hangs at some rates: it sleeps, or it holds Python's global lock."""

import ctypes
import os
import time

_steps = os.open(os.environ["CHAOS_STEPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def objective(recipe, report, epochs):
    for epoch in range(1, int(epochs) + 1):
        os.write(_steps, b".")
        time.sleep(0.1)
        report(epoch, recipe.lr / epoch)
        if recipe.lr == 0.01:
            time.sleep(10_000)
        if recipe.lr == 0.02:
            ctypes.PyDLL(None).sleep(10_000)
'''
_ERRORS = '''
"""A training that raises a different kind of error at each rate."""

import sys


class Odd(BaseException):
    pass


def objective(recipe, report, epochs):
    report(1, 1.0, step=5)
    if recipe.lr == 0.01:
        report(1, 1.0, step=5)
    elif recipe.lr == 0.02:
        raise RuntimeError("cannot open \\udcff")
    elif recipe.lr == 0.03:
        raise RuntimeError("a text with a NUL: \\0")
    elif recipe.lr == 0.04:
        raise KeyboardInterrupt
    elif recipe.lr == 0.05:
        sys.exit(7)
    elif recipe.lr == 0.06:
        raise Odd("no Exception at all")
    elif recipe.lr == 0.07:
        report("no number", 1.0)
    elif recipe.lr == 0.08:
        raise RuntimeError(Bad())
    report(2, 0.5, step=10)


class Bad:
    def __str__(self):
        raise ValueError("it cannot even be said")
'''
ERRORS = {
    0.01: "reports twice", 0.02: "a lone surrogate", 0.03: "NUL", 0.04: "KeyboardInterrupt",
    0.05: "sys.exit", 0.06: "a BaseException", 0.07: "reports no number",
    0.08: "an error without words",
}  # fmt: skip
_DATA = '''
"""A data function that raises for some arguments."""

import torch


def load(bad=0):
    if bad:
        raise RuntimeError("these data cannot be made")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1200, 4, generator=generator)
    y = x[:, :3].argmax(1)
    return (x[:1000], y[:1000]), (x[1000:], y[1000:])
'''
# The formula is valid for the steps of large batches (formulas are checked beforehand for the first
# choice alone, a large one); batches of 16 have too many steps.
_GOOD, _BAD_DATA, _BAD_FORMULA = (
    {"batch_size": 128, "data.bad": 0}, {"batch_size": 128, "data.bad": 1},
    {"batch_size": 16, "data.bad": 0},
)  # fmt: skip


def _try_first(trials: list[dict[str, float]]) -> list[str]:
    """Return the command-line settings for exactly these trials."""
    shown = ["{" + ", ".join(f"{k}: {v}" for k, v in one.items()) + "}" for one in trials]
    return [f"study.n_trials={len(trials)}", f"study.try_first=[{', '.join(shown)}]"]


def _rates(bad: list[float]) -> list[str]:
    """Return settings for trials at these rates, with good ones between.

    Three failures in a row would end the sweep.
    """
    return _try_first([{"lr": rate} for one in bad for rate in (one, GOOD)])


def hung(folder: Path, short: bool) -> Cost:
    """Check that trainings that never return are given up, and that others are unaffected."""
    cost = Cost("training hangs")
    arena = Arena(folder)
    (folder / "chaos_own.py").write_text(_HANGS)
    bad, attempts = [0.01] if short else [0.01, 0.02], 2
    code = arena.run(*OWN, *_rates(bad), "space.lr={low: 0.001, high: 1.0, log: true}",
                     "queue.stall_timeout=2", f"queue.max_attempts={attempts}")  # fmt: skip
    if code:
        cost.wrong.append(f"ended with {code}: {arena.said().strip().splitlines()[-1:]}")
    for lr, outcome, deaths, reason, value in _ends(arena):
        if lr not in bad:
            if (outcome, value) != ("complete", lr / 3):
                cost.lost += 1
                cost.wrong.append(f"a good trial is {outcome} with {value}")
            continue
        cost.faults += deaths
        cost.attempts += deaths - 1
        cost.seconds += 0.1 * (deaths - 1)
        if outcome != "crashed" or deaths != attempts or "queue.stall_timeout" not in str(reason):
            cost.wrong.append(f"lr={lr}: {outcome} after {deaths} deaths ({reason})")
    return cost


def user_errors(folder: Path, url: str | None) -> Cost:
    """Check that every kind of error in the user's code fails its trial, and ends no worker."""
    cost = Cost("error in the user's code" + ("" if url is None else ", PostgreSQL"))
    arena = Arena(folder, url)
    (folder / "chaos_own.py").write_text(_ERRORS)
    code = arena.run(*OWN, *_rates(list(ERRORS)), "space.lr={low: 0.001, high: 1.0, log: true}")
    if code:
        cost.wrong.append(f"ended with {code}: {arena.said().strip().splitlines()[-1:]}")
    ends = {lr: (outcome, reason) for lr, outcome, _, reason, _ in _ends(arena)}
    for rate, what in ERRORS.items():
        cost.faults += 1
        outcome, reason = ends.get(rate, ("missing", None))
        if outcome != "failed" or not reason:
            cost.wrong.append(f"{what}: {outcome} ({reason})")
    good = [outcome for lr, outcome, *_ in _ends(arena) if lr == GOOD]
    if good != ["complete"] * len(ERRORS):
        cost.lost += len(ERRORS) - good.count("complete")
        cost.wrong.append(f"the good trials: {good}")
    _one_worker(arena, cost)
    return cost


def recipe_errors(folder: Path) -> Cost:
    """Check that a formula and a data function fail only the trials of some recipes."""
    cost = Cost("recipe that cannot be computed")
    arena = Arena(folder)
    (folder / "chaos_data.py").write_text(_DATA)
    trials = [_GOOD, _BAD_DATA, _GOOD, _BAD_FORMULA, _GOOD]
    code = arena.run(
        "+sweep=digits", "sampler=random", "pruner=none", f"study.name={NAME}", "workers=1",
        "train.epochs=2", "data={_target_: chaos_data.load}", "space.data={bad: {choices: [0, 1]}}",
        "space.batch_size={choices: [64, 16, 128]}", "space.scheduler.only=[lambda]",
        'space.scheduler.lambda.formula="log(100 - step) / 5"', *_try_first(trials),
    )  # fmt: skip
    if code:
        cost.wrong.append(f"ended with {code}: {arena.said().strip().splitlines()[-1:]}")
    outcomes = [outcome for _, outcome, *_ in _ends(arena)]
    cost.faults = 2
    if outcomes != ["complete", "failed", "complete", "failed", "complete"]:
        cost.lost += 3 - outcomes[::2].count("complete")
        cost.wrong.append(f"the trials are {outcomes}")
    _one_worker(arena, cost)
    return cost


def _ends(arena: Arena) -> list[tuple[float | None, str, int, str | None, float | None]]:
    """Return rate, outcome, deaths, reason and value of each trial."""
    lr = "json_extract(recipe, '$.lr')" if "sqlite" in arena.url else "recipe->>'lr'"
    rows = arena.ask(
        f"select {lr}, outcome, deaths, reason, value from lrsearch_units order by number"
    )
    return [(None if one is None else float(one), *rest) for one, *rest in rows]


def _one_worker(arena: Arena, cost: Cost) -> None:
    """Check that no error of the user's code has ended a worker."""
    logs = list(arena.folder.rglob("worker-*.log"))
    cost.attempts += arena.attempts()
    if len(logs) != 1:
        cost.wrong.append(f"{len(logs)} workers instead of one")
    if "Traceback" in arena.said():
        cost.wrong.append("a traceback on the screen")


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path | None]:
    """Mount a file system of that size in memory; None where this user may not."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    with suppress(OSError):
        if subprocess.run(mount, capture_output=True).returncode == 0:
            try:
                yield folder
            finally:
                subprocess.run(["umount", "--lazy", str(folder)], check=True)
            return
    yield None


def fill(disk: Path) -> Path:
    """Fill a disk with one file; return its path."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 2**8, 1):
            with suppress(OSError):
                while True:
                    file.write(os.urandom(size))
    return ballast


def disk_full(folder: Path, plain: Undisturbed) -> Cost:
    """Check a sweep whose disk is full for a while, and one with a full disk for its outputs."""
    cost = Cost("disk full (tmpfs)")
    with small_disk(folder / "all", 64) as disk:
        if disk is None:
            cost.wrong.append("left out: only root can mount a small disk")
            return cost
        arena = Arena(disk)
        command = arena.start(*plain.sweep)
        while command.poll() is None and not arena.ask(
            "select 1 from lrsearch_units where state = 'done'"
        ):
            time.sleep(0.2)
        ballast = fill(disk)
        cost.faults += command.poll() is None
        time.sleep(8.0)
        ballast.unlink()
        code = command.wait(300)
        if code == 1 and "the same command again goes on" in arena.said():
            code = arena.run(*plain.sweep)  # the full disk may end a command that cannot wait
        if code:
            cost.wrong.append(f"ended with {code}: {arena.said().strip().splitlines()[-1:]}")
        plain.compare(arena, cost)
    with small_disk(folder / "outputs", 1) as disk:
        assert disk is not None
        arena = Arena(folder / "beside")
        ballast = fill(disk)
        arena.run(*plain.sweep, f"output_dir={disk}")
        cost.faults += 1
        said = arena.said()
        if "Traceback" in said:
            cost.wrong.append(f"full outputs: {said.strip().splitlines()[-1:]}")
        if arena.run("best", NAME) or "val_loss" not in arena.said():
            cost.wrong.append("full outputs: the best is lost")
        half = [one.name for one in disk.rglob(".*") if one.is_file()]
        cost.wrong += [f"full outputs: {one} is left" for one in half]
        ballast.unlink()
        plain.compare(arena, cost)
    return cost
