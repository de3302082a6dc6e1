"""Time of a suggestion in studies of 50 and 200 trials, half of them pruned, on one core.

python benchmarks/search/seconds.py
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import random

import optuna
from optuna.trial import TrialState
from problems import sampled

from lrsearch.cli.compose import load_settings
from lrsearch.registry import ComponentConfig
from lrsearch.tuning.forecast import Peer, Standing
from lrsearch.tuning.samplers import SamplerInputs, build_sampler

GOALS = {50: 0.3, 200: 1.0}
"""Goals in seconds, by the number of trials."""
REPEATS = 7


class History:
    """A history in which all trials have done half of their training."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def at(self, progress: float, spacing: float) -> Sequence[Peer]:
        return self.peers

    def reached(self) -> Mapping[int, tuple[int, int]]:
        return {peer.number: (5, 10) for peer in self.peers if peer.final is None}


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = load_settings(["+sweep=mnist"]).space
    for trials, goal in GOALS.items():
        study, history, rng = optuna.create_study(), History(), random.Random(0)
        for number in range(trials):
            _, parameters = sampled(space, rng)
            value = rng.random()
            complete = number % 2 == 0
            history.peers.append(
                Peer(number, Standing(value + 1, value + 1.2, None), value if complete else None)
            )
            study.enqueue_trial(parameters)
            trial = study.ask()
            space.suggest(trial)
            trial.report(value + 1, 5)
            if complete:
                study.tell(trial, value)
            else:
                study.tell(trial, state=TrialState.PRUNED)
        seconds = []
        for repeat in range(REPEATS):
            inputs = SamplerInputs(space, history, {}, 0, repeat)
            study.sampler = build_sampler(ComponentConfig("auto"), inputs)
            started = time.process_time()
            trial = study.ask()
            space.suggest(trial)
            seconds.append(time.process_time() - started)
            study.tell(trial, state=TrialState.FAIL)
        median = statistics.median(seconds)
        verdict = "met" if median <= goal else "NOT MET"
        print(f"{trials} trials: {median:.2f} s a suggestion (goal {goal:g} s: {verdict})")


if __name__ == "__main__":
    main()
