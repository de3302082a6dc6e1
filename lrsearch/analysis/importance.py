"""Which parameters mattered for reaching the best values."""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lrsearch.analysis.parameters import (
    SearchedParameter,
    label,
    position,
    searched_parameters,
)
from lrsearch.analysis.study_data import StudyData
from lrsearch.settings import Settings
from lrsearch.space.domains import Choices, Domain, FloatRange, IntRange, PowersOfTwo
from lrsearch.space.names import ParameterName

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST_COMPLETE = 20
SOLID = 50
HARDLY = 0.02
"""Share of importance below which a parameter hardly mattered."""
RATE = "learning rate"
"""The peak learning rates of all optimizers, coupled or not, are one parameter."""
_TOP_SHARE = 0.1
_LEAST_TOP = 5
_MOST_TRIALS = 0.75
_LITTLE = 0.25
"""A parameter hardly varied where this part of its range holds `_MOST_TRIALS` of the trials."""


@dataclass(frozen=True)
class Importance:
    """Shares of importance, the largest first; empty where the trials are too few."""

    complete: int
    shares: tuple[tuple[str, float], ...]
    """A parameter, and its share; together 1. The rates of all optimizers are one."""
    top: int
    """Number of best trials that are compared with all others."""
    unjudged: tuple[str, ...] = ()
    """Parameters that too few trials had: branches that were rarely tried."""
    unvaried: tuple[str, ...] = ()
    """Parameters that the sampler hardly varied, so that their importance is not known."""
    order: tuple[str, ...] = ()
    """Stored names of the parameters with a share, the most important first."""
    by_model: bool = False
    """Whether the trials were chosen by the values of earlier ones."""

    @property
    def first(self) -> tuple[tuple[str, float], ...]:
        """The parameters that mattered most, at most three."""
        return tuple((name, share) for name, share in self.shares[:3] if share >= HARDLY)

    @property
    def hardly(self) -> tuple[str, ...]:
        """The parameters that hardly mattered."""
        return tuple(name for name, share in self.shares if share < HARDLY)


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
    seen: dict[str, list[SearchedParameter]] = defaultdict(list)
    for _, parameters in trials:
        for parameter in parameters.values():
            seen[parameter.name].append(parameter)
    searched = {
        name: values
        for name, values in seen.items()
        if len({label(parameter.value) for parameter in values}) > 1
    }
    common = {name for name, values in searched.items() if len(values) >= LEAST_COMPLETE}
    unvaried = {name for name in common if hardly_varied(searched[name])}
    judged = common - unvaried
    raw = _evaluate(trials, judged, settings.metric.mode, top / complete)
    total = sum(raw.values())
    shares: dict[str, float] = defaultdict(float)
    for name, value in raw.items():
        # Each rate counts with the share of the trials that have its optimizer.
        shares[_shown(name)] += value / total if total > 0 else 0.0
    known = {_shown(name) for name in judged}

    def without(names: Collection[str]) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(
                _shown(name) for name in searched if name in names and _shown(name) not in known
            )
        )

    return Importance(
        complete=complete,
        shares=tuple(sorted(shares.items(), key=lambda s: (-s[1], s[0]))) if total > 0 else (),
        top=top,
        unjudged=without(searched.keys() - common),
        unvaried=without(unvaried),
        order=tuple(sorted(raw, key=lambda name: (-raw[name], name))) if total > 0 else (),
        by_model=study.adaptive_sampler is not None,
    )


def _shown(name: str) -> str:
    """Return the name of the parameter to which a stored name belongs."""
    return RATE if ParameterName.parse(name).is_rate else name


def hardly_varied(values: Sequence[SearchedParameter]) -> bool:
    """Return whether most values are the same, or in a small part of the range."""
    places = [position(parameter.domain, parameter.value) for parameter in values]
    known = sorted(place for place in places if place is not None)
    most = math.ceil(_MOST_TRIALS * len(values))
    if len(known) < len(values):  # a choice
        counts = Counter(label(parameter.value) for parameter in values)
        return counts.most_common(1)[0][1] >= most
    narrowest = min(high - low for low, high in zip(known, known[most - 1 :], strict=False))
    return narrowest < _LITTLE


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
