"""All figures of a study by their fixed names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.analysis.findings import Findings
from lrsearch.analysis.study_data import StudyData
from lrsearch.plots.interactive.confirmed import runs_by_seed
from lrsearch.plots.interactive.curves import rate_curves, validation_curves
from lrsearch.plots.interactive.equal_tuning import heat_map, option_boxes
from lrsearch.plots.interactive.parallel import parallel_coordinates
from lrsearch.plots.interactive.range_test import ramps
from lrsearch.plots.interactive.rates import divergence, loss_against_rate, rate_and_batch_map
from lrsearch.plots.interactive.summary import (
    importance_bars,
    range_places,
    spent_bars,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CURVES, RATES, LOSS_VS_LR, MAP, IMPORTANCE = (
    "lrsearch-curves", "lrsearch-rates", "lrsearch-loss-vs-lr", "lrsearch-map",
    "lrsearch-importance",
)  # fmt: skip
RANGE_TEST = "lrsearch-range-test"
OPTIMIZERS, HEAT_MAP = "lrsearch-optimizers", "lrsearch-heat-map"
FAMILIES, SPACE, FRONTIER, PARALLEL, SPENT, CONFIRMED = (
    "lrsearch-families", "lrsearch-space", "lrsearch-frontier", "lrsearch-parallel",
    "lrsearch-spent", "lrsearch-confirmed",
)  # fmt: skip


def study_figures(study: StudyData, findings: Findings) -> dict[str, Figure]:
    """Draw the figures of the dashboard, without those that lack data.

    Its cards have room for one optimizer: that of the best trial.
    """
    return _drawn(
        {
            CURVES: validation_curves(study),
            RATES: rate_curves(study),
            LOSS_VS_LR: loss_against_rate(study, findings.basins, best_alone=True),
            MAP: rate_and_batch_map(study, findings.scaling),
            IMPORTANCE: importance_bars(findings.importance),
            RANGE_TEST: ramps(findings.range_test),
        }
    )


def report_figures(study: StudyData, findings: Findings) -> dict[str, Figure]:
    """Draw all figures of the report: those of `study_figures`, whole, and further ones."""
    important = findings.importance.order
    return study_figures(study, findings) | _drawn(
        {
            LOSS_VS_LR: loss_against_rate(study, findings.basins),
            CONFIRMED: runs_by_seed(study.confirmation),
            FAMILIES: option_boxes(findings.schedulers),
            OPTIMIZERS: option_boxes(findings.optimizers),
            HEAT_MAP: heat_map(findings.optimizers),
            SPACE: range_places(findings.edges),
            FRONTIER: divergence(study, findings.frontier),
            PARALLEL: parallel_coordinates(study, important),
            SPENT: spent_bars(findings.spent),
        }
    )


def _drawn(figures: dict[str, Figure | None]) -> dict[str, Figure]:
    return {name: figure for name, figure in figures.items() if figure is not None}
