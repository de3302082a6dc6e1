"""Kills a training with SIGKILL at random points and lets another process take it over.

Run as a script in a new folder. It forks, so that torch is imported once; the parent itself never
trains. A point is any call of a Python or C function: between two steps, in the middle of writing
a file, or between its sync and its rename. Prints what became of each scheduler family.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from reports import Collected
from small_training import small_task, timeless

from lrsearch.checkpoints.pace import Pace
from lrsearch.checkpoints.store import Store
from lrsearch.objectives.resumable import Resumable
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.training.loop import Training
from lrsearch.training.settings import TrainSettings

KILLS = 3
"""A training is killed at most so often."""


class Calls:
    """Counts the calls of all functions, and ends the process at the one that is asked for."""

    def __init__(self, fatal: int | None) -> None:
        self.count, self.fatal = 0, fatal

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, family: str, fatal: int | None) -> None:
    """Trains to the end, or dies at the call `fatal`; leaves its result in `folder`."""
    settings = TrainSettings(checkpoint_every=5)
    calls, seen = Calls(fatal), Collected()
    sys.setprofile(calls)
    checkpoints = Store(str(folder / "store")).trial_slot("study", 0)
    pace = Pace(clock=lambda: 0.0, first_after=0.0)  # saving costs nothing: at each evaluation
    resumable = Resumable(
        lambda: Training(small_task(family, warmup="5st", settings=settings)), checkpoints, {}, pace
    )
    first = resumable._training.step
    weights = resumable.run(seen)
    sys.setprofile(None)
    result = {"evaluations": timeless(seen), "weights": dict(weights), "first": first}
    torch.save({**result, "calls": calls.count}, folder / "result.pt")


def in_a_process(folder: Path, family: str, fatal: int | None) -> bool:
    """Whether the training came to its end."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            train(folder, family, fatal)
        finally:
            sys.stdout.flush()
            os._exit(0 if sys.exc_info()[0] is None else 1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0, f"{family} failed"
    return True


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "result.pt", weights_only=True)
    return found


def main(seed: int) -> None:
    told: dict[str, Any] = {}
    # The first optimizer imports a second's worth of torch: not in each process anew.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    for family in SCHEDULERS:
        rng = random.Random(f"{seed} {family}")
        whole, killed = Path(family, "whole"), Path(family, "killed")
        whole.mkdir(parents=True)
        killed.mkdir()
        assert in_a_process(whole, family, None)
        expected = result_of(whole)
        kills = 0
        half = expected["calls"] // 2
        while kills < KILLS and not in_a_process(killed, family, rng.randrange(1, half)):
            kills += 1
        if not (killed / "result.pt").exists():
            assert in_a_process(killed, family, None)
        found = result_of(killed)
        weights = expected["weights"]
        told[family] = {
            "kills": kills,
            "went_on_at": found["first"],
            "same_evaluations": found["evaluations"] == expected["evaluations"],
            "same_weights": all(
                torch.equal(found["weights"][name], weights[name]) for name in weights
            ),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
