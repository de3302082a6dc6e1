"""Which parameters mattered for reaching the best values."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lrsearch.analysis.parameters import SearchedParameter, label, searched_parameters
from lrsearch.analysis.study_data import StudyData
from lrsearch.settings import Settings
from lrsearch.space.domains import Choices, Domain, FloatRange, IntRange, PowersOfTwo
from lrsearch.text.formatting import listed, percent, plural

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST_COMPLETE = 20
SOLID = 50
_TOP_SHARE = 0.1
_LEAST_TOP = 5


@dataclass(frozen=True)
class Importance:
    """Shares of importance, the largest first; empty where the trials are too few."""

    complete: int
    shares: tuple[tuple[str, float], ...]
    """Stored name of a parameter, and its share; together 1."""
    top: int
    """Number of best trials that are compared with all others."""
    unjudged: tuple[str, ...] = ()
    """Parameters that too few trials had: branches that were rarely tried."""

    def sentences(self) -> list[str]:
        """Return the finding in plain sentences."""
        if self.complete < LEAST_COMPLETE:
            return [
                f"{plural(self.complete, 'complete trial')} are too few to tell what mattered; it "
                f"takes {LEAST_COMPLETE}."
            ]
        if not self.shares:
            return ["Nothing that was searched varied in a way that can be held against values."]
        first = [f"{name} ({percent(share)})" for name, share in self.shares[:3] if share > 0]
        lines = [
            f"What set the best {plural(self.top, 'trial')} apart from all "
            f"{self.complete} complete ones most: {listed(first)}."
        ]
        little = [name for name, share in self.shares if share < 0.02]
        if little:
            lines.append(f"Hardly anything came of {listed(little)} (below 2 % each).")
        if self.unjudged:
            lines.append(
                f"Fewer than {LEAST_COMPLETE} complete trials had {listed(self.unjudged)}: too few "
                f"to judge."
            )
        if self.complete < SOLID:
            lines.append(f"With fewer than {SOLID} complete trials these shares are rough.")
        return lines


def find_importance(study: StudyData, settings: Settings) -> Importance:
    """PED-ANOVA over the complete trials, by Optuna's evaluator.

    A parameter of one branch is compared among the trials of that branch, weighted by their share
    (conditional PED-ANOVA; Watanabe et al. 2023, arXiv:2304.10255, and arXiv:2601.20800).
    """
    complete = len(study.ranked)
    top = max(_LEAST_TOP, math.ceil(_TOP_SHARE * complete))
    if complete < LEAST_COMPLETE:
        return Importance(complete, (), top)
    trials = [
        (
            trial.value,
            {
                parameter.name: parameter
                for parameter in searched_parameters(settings.space, trial.recipe)
            },
        )
        for trial in study.ranked
        if trial.recipe is not None
    ]
    seen: dict[str, list[str | float]] = defaultdict(list)
    for _, parameters in trials:
        for parameter in parameters.values():
            seen[parameter.name].append(label(parameter.value))
    varied = {name: len(values) for name, values in seen.items() if len(set(values)) > 1}
    judged = {name for name, count in varied.items() if count >= LEAST_COMPLETE}
    unjudged = tuple(name for name in varied if name not in judged)
    raw = _evaluate(trials, judged, settings.metric.mode, top / complete)
    total = sum(raw.values())
    if not total > 0:
        return Importance(complete, (), top, unjudged)
    shares = sorted(((name, value / total) for name, value in raw.items()), key=lambda s: -s[1])
    return Importance(complete, tuple(shares), top, unjudged)


def _evaluate(
    trials: Sequence[tuple[float | None, Mapping[str, SearchedParameter]]],
    judged: Collection[str],
    mode: Literal["min", "max"],
    quantile: float,
) -> Mapping[str, float]:
    """The importance of the `judged` parameters, in Optuna's unit."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.storages import InMemoryStorage
    from optuna.trial import FrozenTrial, TrialState

    class Given(InMemoryStorage):
        """Storage that holds the given trials; Optuna's own copies each of them twice."""

        def get_all_trials(self, *_: object, **__: object) -> list[FrozenTrial]:
            return given

    given = []
    for number, (value, parameters) in enumerate(trials):
        chosen = {
            name: (label(parameter.value), distribution)
            for name, parameter in parameters.items()
            if name in judged and (distribution := _distribution(parameter.domain)) is not None
        }
        given.append(
            FrozenTrial(
                number=number,
                state=TrialState.COMPLETE,
                value=value,
                datetime_start=None,
                datetime_complete=None,
                params={name: known for name, (known, _) in chosen.items()},
                distributions={name: domain for name, (_, domain) in chosen.items()},
                user_attrs={},
                system_attrs={},
                intermediate_values={},
                trial_id=number,
            )
        )
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=Given(), direction="minimize" if mode == "min" else "maximize"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of branches with few trials, as the sentences say
            return PedAnovaImportanceEvaluator(target_quantile=quantile).evaluate(study)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(domain: Domain) -> BaseDistribution | None:
    """Optuna's counterpart; None where nothing was searched."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    match domain:
        case FloatRange(low, high, log, step):
            return FloatDistribution(low, high, log=log, step=step)
        case IntRange(low, high, log, step):
            return IntDistribution(low, high, log=log, step=step)
        case PowersOfTwo(low, high):
            return IntDistribution(low, high, log=True)
        case Choices(values):
            return CategoricalDistribution([label(value) for value in values])
    return None
