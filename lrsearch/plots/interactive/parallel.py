"""The figure of parallel coordinates: each complete trial as a line over the parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.analysis.parameters import label, position, searched_parameters, settings_of
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.plots.interactive.style import colour, new_figure, ordered, rounded
from lrsearch.space.domains import Choices, Domain
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_AXES = 8
_MOST_TRIALS = 300
_FAINT, _BOLD = 0.45, 0.95
_TOP_SHARE, _MOST_BOLD = 0.1, 10


def how_many_bold(complete: int) -> int:
    """The number of best trials that are drawn bold, out of `complete` trials."""
    return min(_MOST_BOLD, math.ceil(_TOP_SHARE * complete))


@dataclass(frozen=True)
class _Axis:
    """A vertical axis: its name, the labels of its ends, and the trials on it."""

    name: str
    low: str
    high: str
    places: dict[int, float]
    """The position of each trial between 0 and 1, by trial number."""


def parallel_coordinates(study: StudyData, first: tuple[str, ...] = ()) -> Figure | None:
    """Draw the best complete trials over the parameters that most of them have, the very best bold.

    `first` names parameters by importance, for the order of the axes. The trials are plain lines,
    so that the figure can be printed. None if fewer than two trials are complete, or fewer than two
    parameters were searched.
    """
    import plotly.graph_objects as go

    complete = [trial for trial in study.ranked if trial.recipe is not None]
    trials = complete[:_MOST_TRIALS]
    axes = _axes(study, trials, first)
    if len(trials) < 2 or len(axes) < 2:
        return None
    axes.append(_values(study, trials))
    figure = new_figure("parameter", "place in its range (0 to 1)")
    best = {trial.number for trial in complete[: how_many_bold(len(complete))]}
    for family in ordered(t.recipe.scheduler.name for t in trials if t.recipe):
        for bold in (False, True):
            x: list[float | None] = []
            y: list[float | None] = []
            texts: list[str | None] = []
            for trial in trials:
                assert trial.recipe is not None
                if trial.recipe.scheduler.name != family or (trial.number in best) != bold:
                    continue
                for k, axis in enumerate(axes):
                    x.append(k)
                    y.append(rounded(axis.places.get(trial.number), 3))
                    texts.append(str(trial.number))
                x, y, texts = [*x, None], [*y, None], [*texts, None]
            if x:
                figure.add_trace(
                    go.Scatter(
                        x=x, y=y, text=texts, name=f"{family}{', best' if bold else ''}",
                        mode="lines", connectgaps=False, opacity=_BOLD if bold else _FAINT,
                        line={"color": colour(family), "width": 2.5 if bold else 1},
                        hovertemplate="trial %{text}<extra></extra>",
                    )
                )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(axes))),
        ticktext=[f"{axis.name}<br>{axis.low} … {axis.high}" for axis in axes],
        showgrid=True,
        ticklabeloverflow="allow",  # or the last label would be hidden
        range=[-0.4, len(axes) - 0.6],
    )
    figure.update_layout(margin={"r": 40})
    figure.update_yaxes(range=[-0.05, 1.05])
    return figure


def _axes(study: StudyData, trials: list[TrialData], first: tuple[str, ...]) -> list[_Axis]:
    """The axes of parameters that at least half of the trials have, by importance."""
    space = settings_of(study).space
    places: dict[str, dict[int, float]] = {}
    domains: dict[str, Domain] = {}
    for trial in trials:
        assert trial.recipe is not None
        for parameter in searched_parameters(space, trial.recipe):
            place = _place(parameter.domain, parameter.value)
            if place is not None:
                places.setdefault(parameter.name, {})[trial.number] = place
                domains[parameter.name] = parameter.domain
    most = [name for name in places if 2 * len(places[name]) >= len(trials)]
    most.sort(key=lambda name: first.index(name) if name in first else len(first))
    return [
        _Axis(name, *_ends(domains[name]), places[name]) for name in most[:_MOST_AXES]
    ]  # fmt: skip


def _place(domain: Domain, value: Any) -> float | None:
    """The position of a value in its domain between 0 and 1; None if it has none."""
    if isinstance(domain, Choices):
        return domain.values.index(value) / (len(domain.values) - 1)
    return position(domain, value)


def _ends(domain: Domain) -> tuple[str, str]:
    ends = domain.ends()
    return _short(ends[0]), _short(ends[-1])


def _short(value: Any) -> str:
    named = label(value)
    return named if isinstance(named, str) else number(named, 3)


def _values(study: StudyData, trials: list[TrialData]) -> _Axis:
    """The axis of the metric, with trials placed by rank: the best at 1, the worst at 0."""
    last = max(1, len(trials) - 1)
    places = {trial.number: 1 - rank / last for rank, trial in enumerate(trials)}
    return _Axis(study.metric.name, "worst", "best", places)
