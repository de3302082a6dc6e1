"""How often the comparison at equal tuning is right where a third of the trials were pruned.

    python benchmarks/statistics/pruned_trials.py [--studies 1000]

Trials of two schedulers have final values of a known distribution. The loss of one falls in the
middle of its training, that of the other late, so that its last value, where it was pruned, is
further from its end. Trials are pruned at two fifths of their training where they are behind three
in five of those that came so far before. The comparison sees the pruned curves alone.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from lrsearch.analysis.families import compare_schedulers
from lrsearch.analysis.forecasts import forecasts
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.evaluation import Evaluation
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.states import Outcome, WorkState

EVALUATIONS, PRUNED_AT, BEHIND = 10, 4, 0.6
NOISE = 0.02
FALLS = {"step": 3.5, "cosine": 2.0}
"""How fast the loss of each scheduler falls: its distance from the end is exp(-falls * t)."""
CONFIG = {
    "study": {},
    "sampler": {"name": "random"},
    "metric": {"name": "val_loss", "mode": "min", "at": "last"},
}


def study_of(random: np.random.Generator, trials: int, shift: dict[str, float]) -> StudyData:
    """A study of as many trials of each scheduler; `shift` is added to the final values."""
    so_far: list[float] = []
    made = []
    for number in range(2 * trials):
        name = [*FALLS][number % 2]
        final = float(np.exp(random.normal(0.0, 0.6))) + shift[name]
        t = np.arange(1, EVALUATIONS + 1) / EVALUATIONS
        fall = np.exp(-FALLS[name] * t) - math.exp(-FALLS[name])
        curve = final + 2.0 * fall + NOISE * random.normal(size=EVALUATIONS) * (t < 1)
        at = float(curve[PRUNED_AT - 1])
        behind = sum(value < at for value in so_far) > BEHIND * len(so_far) >= BEHIND * 4
        so_far.append(at)
        made.append(_trial(number, name, curve[:PRUNED_AT] if behind else curve, behind))
    return StudyData(1, "synthetic", "open", None, CONFIG, {}, 0.0, len(made), tuple(made))


def _trial(number: int, scheduler: str, values: np.ndarray, pruned: bool) -> TrialData:
    recipe = Recipe(
        0.01 + number / 1e4, 32, ComponentConfig("sgd", {}), ComponentConfig(scheduler, {})
    )
    curve = tuple(
        Evaluation(k, float(k), k, {}, (0.01,), (0.01,), None, None, 1.0, value=float(value),
                   progress=k / EVALUATIONS)
        for k, value in enumerate(values, 1)
    )  # fmt: skip
    return TrialData(
        number, number, number, number, WorkState.DONE,
        Outcome.PRUNED if pruned else Outcome.COMPLETE, curve[-1].value, None, None, None, 1.0,
        None, None, 1, 0, number, None, recipe, curve,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    print("trials each best of  pruned    held  false winners")
    for trials in (12, 24, 40):
        random, held, false, pruned, tries = np.random.default_rng(0), 0, 0, 0, 0
        for _ in range(studies):
            study = study_of(random, trials, dict.fromkeys(FALLS, 0.0))
            (comparison,) = compare_schedulers(study, forecasts(study)).comparisons
            _, second = comparison.compared
            assert second.behind is not None
            held += second.behind.low <= 0 <= second.behind.high
            false += comparison.winner is not None
            pruned += sum(trial.outcome == Outcome.PRUNED for trial in study.trials)
            tries = comparison.tries or 0
        shares = [100 * share / studies for share in (pruned / 2 / trials, held, false)]
        print(
            "{:11} {:7} {:5.0f} % {:5.1f} % {:12.1f} %".format(trials, tries, *shares), flush=True
        )


if __name__ == "__main__":
    main()
