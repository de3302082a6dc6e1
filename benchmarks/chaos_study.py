"""Parts that all kinds of faults share: a study of short trials, and the costs of its faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

NAME = "chaos"
LEASE = 3.0
"""Length of a lease in seconds: short, so that many run out within minutes."""
SWEEP = (
    "+sweep=digits", "sampler=random", "pruner=none", "train.keep_best=0", f"study.name={NAME}",
    # The limit on attempts is not what is tested here.
    "queue.max_attempts=1000", f"queue.lease={LEASE:g}",
    # By default, trainings of a few seconds write no checkpoints.
    "train.checkpoint_every=50", "train.loss={_target_: chaos_loss.loss}",
)  # fmt: skip
_LOSS = '''
"""A cross-entropy that adds a byte to a file at each training step, of whatever process."""

import os

import torch

_steps = os.open(os.environ["CHAOS_STEPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def loss(outputs, targets):
    if torch.is_grad_enabled():
        os.write(_steps, b".")
    return torch.nn.functional.cross_entropy(outputs, targets)
'''


@dataclass
class Cost:
    """Costs of one kind of fault."""

    kind: str
    faults: int = 0
    attempts: int = 0
    """Number of attempts at trials and auxiliary runs beyond one each."""
    seconds: float = 0.0
    """Seconds of training that was repeated."""
    lost: int = 0
    """Number of trials that are missing, or that ended differently without faults."""
    wrong: list[str] = field(default_factory=list)


class Arena:
    """A folder in which a study is run, and its database."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.url = folder, url or f"sqlite:///{folder / 'lrsearch.db'}"
        (folder / "chaos_loss.py").write_text(_LOSS)

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LRSEARCH_STORAGE": self.url,
            "LRSEARCH_CHECKPOINTS": str(self.folder / "checkpoints"),
            "CHAOS_STEPS": str(self.folder / "steps"),
            "COLUMNS": "200",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command; `said` returns its output."""
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "lrsearch", *arguments], text=True,
                cwd=self.folder, env=self.environment(), stdout=said, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def run(self, *arguments: str, limit: float = 300.0) -> int:
        """Run a command to its end; return its exit code."""
        return self.start(*arguments).wait(limit)

    def said(self) -> str:
        """Return the output of the last command."""
        return (self.folder / "said").read_text(errors="replace")

    def steps(self) -> int:
        """Return the number of steps trained in this folder, repeated ones included."""
        file = self.folder / "steps"
        return file.stat().st_size if file.exists() else 0

    def ask(self, query: str) -> list[Any]:
        """Return the rows of a query; none while its table does not exist."""
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(query)).all())
        except Exception:  # noqa: BLE001 - nothing is there yet, or the server is restarted
            return []
        finally:
            engine.dispose()

    def attempts(self) -> int:
        """Return the number of attempts at trials and auxiliary runs beyond one each."""
        rows = self.ask(
            "select attempts from lrsearch_units union all select attempts from lrsearch_side_runs"
        )
        return sum(max(0, attempts - 1) for (attempts,) in rows)

    def results(self) -> dict[Any, Any]:
        """Return recipe, outcome, value and curve of trials, and outcomes of auxiliary runs."""
        curves: dict[int, list[tuple[Any, ...]]] = {}
        for trial_id, *row in self.ask(
            "select trial_id, evaluation, step, val_loss, train_loss, lr_end "
            "from lrsearch_epochs order by trial_id, evaluation"
        ):
            curves.setdefault(trial_id, []).append(tuple(row))
        units = {
            number: (json.loads(recipe) if isinstance(recipe, str) else recipe, outcome, value,
                     curves.get(trial_id, []))
            for number, recipe, outcome, value, trial_id in self.ask(
                "select number, recipe, outcome, value, trial_id from lrsearch_units")
        }  # fmt: skip
        auxiliary_runs = {
            (kind, number): (outcome, value)
            for kind, number, outcome, value in self.ask(
                "select kind, number, outcome, value from lrsearch_side_runs"
            )
        }
        return units | auxiliary_runs


@dataclass
class Undisturbed:
    """The same sweep without faults."""

    sweep: tuple[str, ...]
    arena: Arena
    results: dict[Any, Any]
    steps: int
    pace: float
    """Seconds per step."""

    def compare(self, arena: Arena, cost: Cost) -> None:
        """Add to `cost` what a disturbed run of the sweep has lost and repeated."""
        found = arena.results()
        different = [str(key) for key in self.results if found.get(key) != self.results[key]]
        more = [str(key) for key in found if key not in self.results]
        cost.lost += len(different)
        cost.wrong += [f"not equal to the undisturbed run: {key}" for key in different]
        cost.wrong += [f"not in the undisturbed run: {key}" for key in more]
        cost.attempts += arena.attempts()
        cost.seconds += max(0, arena.steps() - self.steps) * self.pace
        cost.wrong += [f"left behind: {one}" for one in left_behind(arena.folder)]


def left_behind(folder: Path) -> list[str]:
    """Return checkpoints of finished trials, and unfinished files."""
    kept = [*(folder / "checkpoints").rglob("*.ckpt"), *folder.rglob(".writing-*")]
    return sorted(str(one.relative_to(folder)) for one in kept)


def undisturbed(folder: Path, *more: str) -> Undisturbed:
    """Run a sweep without faults."""
    arena, sweep = Arena(folder), (*SWEEP, *more)
    if code := arena.run(*sweep):
        raise SystemExit(f"the undisturbed sweep ended with {code}:\n{arena.said()}")
    results = arena.results()
    ((seconds, steps),) = arena.ask(
        "select sum(seconds), (select sum(last) from (select max(step) as last "
        "from lrsearch_epochs group by trial_id) as lasts) from lrsearch_epochs"
    )
    return Undisturbed(sweep, arena, results, arena.steps(), seconds / steps)
