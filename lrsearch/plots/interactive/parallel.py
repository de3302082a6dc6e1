"""The figure of parallel coordinates: each complete trial as a line over the parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.analysis.parameters import label, position, searched_parameters, settings_of
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.plots.interactive.style import colour, dash, new_figure, ordered, rounded
from lrsearch.plots.palette import BEST
from lrsearch.plots.ticks import tick_label
from lrsearch.space.domains import Choices, Domain, FloatRange
from lrsearch.space.names import ParameterName
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_AXES = 8
_MOST_TRIALS = 300
_FAINT = 0.4
_RATE = "learning rate"
_TOP_SHARE, _MOST_BOLD = 0.1, 10


def how_many_bold(complete: int) -> int:
    """The number of best trials that are drawn bold, out of `complete` trials."""
    return min(_MOST_BOLD, math.ceil(_TOP_SHARE * complete))


@dataclass(frozen=True)
class _Axis:
    """A horizontal axis: its name, the labels of its ends, and the trials on it."""

    name: str
    low: str
    high: str
    places: dict[int, tuple[float, str]]
    """The position of each trial between 0 and 1, and the label of its value, by trial number."""


def parallel_coordinates(study: StudyData, first: tuple[str, ...] = ()) -> Figure | None:
    """Draw the best complete trials over the parameters that most of them have, the very best bold.

    The axes are below each other, so that their names have room on every screen and on paper. A
    line passes by the axis of a parameter that its trial does not have. `first` names parameters by
    importance, for the order of the axes. None if fewer than two trials are complete, or fewer than
    two parameters were searched.
    """
    complete = [trial for trial in study.ranked if trial.recipe is not None]
    trials = complete[:_MOST_TRIALS]
    axes = _axes(study, trials, first)
    if len(trials) < 2 or len(axes) < 2:
        return None
    axes.append(_values(study, trials))
    figure = new_figure("place in its range (0 to 1)", "", height=150 + 54 * len(axes))
    bold = {trial.number for trial in complete[: how_many_bold(len(complete))]}
    for family in ordered(t.recipe.scheduler.name for t in trials if t.recipe):
        members = [t for t in trials if t.recipe and t.recipe.scheduler.name == family]
        fine = [trial for trial in members if trial.number not in bold]
        thick = [trial for trial in members[::-1] if trial.number in bold]
        for chosen, width, opacity in ((fine, 1, _FAINT), (thick, 2.5, 1)):
            if chosen:
                _add_lines(
                    figure, chosen, axes, family, opacity=opacity,
                    line={"color": colour(family), "width": width, "dash": dash(family)},
                    showlegend=chosen is thick or not thick,
                )  # fmt: skip
    best = trials[0]
    _add_lines(
        figure, [best], axes, f"trial {best.number}, the best",
        line={"color": BEST, "width": 4},
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(axes))),
        ticktext=[f"<b>{axis.name}</b><br>{axis.low} … {axis.high}" for axis in axes],
        range=[len(axes) - 0.7, -0.3],
    )
    figure.update_xaxes(range=[-0.03, 1.03])
    return figure


def _add_lines(
    figure: Figure, trials: list[TrialData], axes: list[_Axis], name: str, **style: Any
) -> None:
    """Add a line for each trial through its places on the axes; they are one trace."""
    import plotly.graph_objects as go

    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str | None] = []
    for trial in trials:
        for k, axis in enumerate(axes):
            if trial.number in axis.places:
                place, value = axis.places[trial.number]
                x.append(rounded(place, 3))
                y.append(k)
                texts.append(f"trial {trial.number}: {axis.name} {value}")
        x, y, texts = [*x, None], [*y, None], [*texts, None]
    figure.add_trace(
        go.Scatter(
            x=x, y=y, text=texts, name=name, legendgroup=name, mode="lines",
            hovertemplate="%{text}<extra></extra>", **style,
        )
    )  # fmt: skip


def _axes(study: StudyData, trials: list[TrialData], first: tuple[str, ...]) -> list[_Axis]:
    """The axes of parameters that at least half of the trials have, by importance, then by name."""
    space = settings_of(study).space
    values: dict[str, dict[int, Any]] = {}
    domains: dict[str, list[Domain]] = {}
    for trial in trials:
        assert trial.recipe is not None
        for parameter in searched_parameters(space, trial.recipe):
            name = _shown(parameter.name)
            values.setdefault(name, {})[trial.number] = parameter.value
            known = domains.setdefault(name, [])
            if parameter.domain not in known:
                known.append(parameter.domain)
    important = list(dict.fromkeys(map(_shown, first)))
    most = [name for name in values if 2 * len(values[name]) >= len(trials)]
    most.sort(
        key=lambda name: (important.index(name) if name in important else len(important), name)
    )
    axes = []
    for name in most:
        domain = _whole(domains[name])
        placed = {number: (_place(domain, value), value) for number, value in values[name].items()}
        places = {
            number: (place, _short(value))
            for number, (place, value) in placed.items()
            if place is not None
        }
        if places:
            axes.append(_Axis(name, *_ends(domain), places))
    return axes[:_MOST_AXES]


def _shown(name: str) -> str:
    """The name of a parameter's axis: the learning rates of all optimizers share one."""
    return _RATE if ParameterName.parse(name).is_rate else name


def _whole(domains: list[Domain]) -> Domain:
    """The domain of an axis: that of its parameter, or one over the ranges of all optimizers."""
    if len(domains) == 1:
        return domains[0]
    ends = [float(end) for domain in domains for end in domain.ends()]
    return FloatRange(min(ends), max(ends), log=min(ends) > 0)


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
    return named if isinstance(named, str) else tick_label(float(f"{named:.3g}"))


def _values(study: StudyData, trials: list[TrialData]) -> _Axis:
    """The axis of the metric, with trials placed by rank: the best at 1, the worst at 0."""
    last = max(1, len(trials) - 1)
    places = {
        trial.number: (1 - rank / last, number(trial.value)) for rank, trial in enumerate(trials)
    }
    return _Axis(study.metric.name, "worst", "best", places)
