"""The panel "Hyperparameter Importance" has the shares of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from lrsearch.analysis.importance import RATE, Importance
from lrsearch.dashboard.importances import OwnImportances, importances

SHARES = Importance(60, ((RATE, 0.9), ("warmup", 0.1)), 6)


def answer(path: str, stored: Mapping[str, Any] | None) -> tuple[str, Any]:
    """The status and the answer for a path; of the dashboard itself it is `passed on`."""
    statuses: list[str] = []

    def attributes(study_id: int) -> Mapping[str, Any]:
        assert study_id == 3
        if stored is None:
            raise KeyError(study_id)
        return stored

    def dashboard(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b'"passed on"']

    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}

    def start_response(status: str, headers: object) -> None:
        statuses.append(status)

    body = OwnImportances(dashboard, attributes)(environ, start_response)  # type: ignore[arg-type]
    return statuses[0], json.loads(b"".join(body))


def test_the_shares_are_those_of_the_report() -> None:
    status, plain = answer("/api/studies/3/param_importances", importances(SHARES))
    assert status == "200 OK"
    (shown,) = plain["param_importances"]
    assert [(bar["name"], bar["importance"]) for bar in shown] == [(RATE, 0.9), ("warmup", 0.1)]


def test_where_the_report_claims_nothing_the_panel_is_empty() -> None:
    _, plain = answer("/api/studies/3/param_importances", importances(Importance(5, (), 5)))
    assert plain == {"param_importances": [[]]}


@pytest.mark.parametrize("stored", [{}, None])
def test_a_study_without_a_report_is_the_dashboard_s_own(stored: Mapping[str, Any] | None) -> None:
    assert answer("/api/studies/3/param_importances", stored)[1] == "passed on"


def test_other_requests_are_passed_on() -> None:
    assert answer("/api/studies/3", importances(SHARES))[1] == "passed on"
