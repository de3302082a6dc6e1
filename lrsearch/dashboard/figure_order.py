"""The order of figures in Optuna's dashboard.

It lists the figures of a study from a set, whose order differs from process to process: they would
change places each time that the dashboard is started. This module replaces a private function of
the dashboard, whose minor version is pinned; a test compares the order that it then answers with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna_dashboard import _custom_plot_data as plots

_unordered = plots.list_graph_object_ids


def put_in_order(first: Sequence[str]) -> None:
    """Make the dashboard list the figures `first` in their order, then all others by name."""

    def ordered(system_attributes: dict[str, Any]) -> list[str]:
        return sorted(
            _unordered(system_attributes),
            key=lambda name: (first.index(name) if name in first else len(first), name),
        )

    plots.list_graph_object_ids = ordered
