"""What a study has cost: trials by outcome, epochs, hours by worker, failures."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.settings import Settings
from lrsearch.states import Outcome, WorkState, in_words
from lrsearch.text.formatting import failure_cause

OUTCOMES: dict[str, str] = {
    outcome: in_words(outcome) for outcome in Outcome if outcome != Outcome.DROPPED
}
"""In the order in which they are shown, with their words."""


@dataclass(frozen=True)
class Worker:
    """Work of one worker: the trials that it ended."""

    name: str
    device: str | None
    trials: int
    seconds: float


@dataclass(frozen=True)
class Cause:
    """Why trials failed or crashed."""

    text: str
    """Last line of what they raised."""
    trials: int


@dataclass(frozen=True)
class Spent:
    """Cost of a study."""

    total: int
    running: int
    outcomes: tuple[tuple[str, int], ...]
    """Name of each outcome and its number of trials."""
    epochs: tuple[tuple[str, float], ...]
    """Name of each outcome and the epochs its trials trained."""
    full_epochs: float
    """Epochs of all ended trials, had each run to its end."""
    pruned_epochs: float
    """Epochs that pruning saved."""
    spared: int
    """Number of trials that were not pruned, against the pruner's decision, as a check."""
    wrongly: int
    """Number of spared trials that became the best so far."""
    workers: tuple[Worker, ...]
    """Workers, by time worked, the longest first."""
    wall_seconds: float
    deaths: int
    """Number of workers that died or fell silent during a trial."""
    causes: tuple[Cause, ...]
    """Why trials failed and crashed, the most frequent cause first."""

    @property
    def trained_epochs(self) -> float:
        """Epochs of all trials that ended."""
        return sum(epochs for _, epochs in self.epochs)

    @property
    def work_seconds(self) -> float:
        """Seconds of work, summed over the workers."""
        return sum(worker.seconds for worker in self.workers)

    @property
    def done(self) -> int:
        """Number of trials that have ended."""
        return sum(count for _, count in self.outcomes)

    @property
    def most_wrong(self) -> float:
        """Upper 95 % confidence limit of the share of wrong prunings (Clopper, Pearson 1934)."""
        from scipy.stats import beta

        if self.wrongly >= self.spared:
            return 1.0
        return float(beta.ppf(0.95, self.wrongly + 1, self.spared - self.wrongly))


def count_spent(study: StudyData, settings: Settings) -> Spent:
    """Sum up the cost of a study's trials."""
    done = [trial for trial in study.trials if trial.state == WorkState.DONE]
    by_outcome: dict[str, list[TrialData]] = defaultdict(list)
    for trial in done:
        by_outcome[trial.outcome or Outcome.FAILED].append(trial)
    ended = {words: by_outcome[key] for key, words in OUTCOMES.items() if key in by_outcome}
    return Spent(
        total=study.total,
        running=sum(trial.state == WorkState.RUNNING for trial in study.trials),
        outcomes=tuple((words, len(trials)) for words, trials in ended.items()),
        epochs=tuple((words, sum(map(_trained, trials))) for words, trials in ended.items()),
        full_epochs=sum(_full(trial, study, settings) for trial in done),
        pruned_epochs=sum(
            max(0.0, _full(trial, study, settings) - _trained(trial))
            for trial in by_outcome.get(Outcome.PRUNED, [])
        ),
        spared=sum(trial.spared_at is not None and trial.is_complete for trial in done),
        wrongly=_wrongly_pruned(study),
        workers=_workers(done),
        wall_seconds=study.seconds,
        deaths=sum(trial.deaths for trial in study.trials),
        causes=tuple(
            Cause(text, trials)
            for text, trials in Counter(
                _cause(trial)
                for key in (Outcome.FAILED, Outcome.CRASHED)
                for trial in by_outcome.get(key, [])
            ).most_common()
        ),
    )  # fmt: skip


def _wrongly_pruned(study: StudyData) -> int:
    """Count the spared trials that became the best of all that had ended by then."""
    wrong, best, sign = 0, float("inf"), 1.0 if study.metric.mode == "min" else -1.0
    for trial in sorted(study.by_value, key=lambda trial: trial.order or 0):
        value = sign * (trial.value or 0.0)
        wrong += trial.spared_at is not None and value < best
        best = min(best, value)
    return wrong


def _trained(trial: TrialData) -> float:
    return trial.curve[-1].epoch if trial.curve else 0.0


def _full(trial: TrialData, study: StudyData, settings: Settings) -> float:
    """Epochs of the trial, had it run to its end."""
    data, train = study.record.get("data"), settings.train
    if settings.objective is not None and train.steps is not None:
        # Where it reports steps alone, a training counts as one epoch.
        last = trial.curve[-1] if trial.curve else None
        return 1.0 if last is None or not last.step else last.epoch * train.steps / last.step
    if trial.recipe is None or not data or settings.objective is not None:
        return float(train.epochs)
    length = train.length(trial.recipe.batch_size, data["n_train"])
    return length.steps / length.steps_per_epoch


def _workers(done: list[TrialData]) -> tuple[Worker, ...]:
    owned: dict[str, list[TrialData]] = defaultdict(list)
    for trial in done:
        owned[trial.owner or "unknown"].append(trial)
    workers = [
        Worker(owner, trials[-1].device, len(trials), sum(t.seconds or 0.0 for t in trials))
        for owner, trials in owned.items()
    ]
    return tuple(sorted(workers, key=lambda worker: -worker.seconds))


def _cause(trial: TrialData) -> str:
    return failure_cause(trial.reason) or "no reason recorded"
