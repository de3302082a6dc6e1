"""The order of figures in Optuna's dashboard, as it answers itself."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from told_sweep import ToldSweep

from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.dashboard.pictures import Artifacts
from lrsearch.dashboard.refresh import TITLES, refresh, stale
from lrsearch.dashboard.server import dashboard


def test_figures_are_listed_in_the_order_of_their_titles(sweep: ToldSweep, tmp_path: Path) -> None:
    for value in (0.5, 0.25, 0.75, 0.6, 0.4):
        sweep.trial(value)
    refresh(sweep.database, sweep.name, stale(sweep.database)[sweep.name])
    tables = OwnTables(sweep.url)
    application = dashboard(sweep.url, Artifacts(tables, tmp_path))
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET", "PATH_INFO": f"/api/studies/{sweep.study_id}",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "QUERY_STRING": "",
        "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http",
    }  # fmt: skip
    body = b"".join(application(environ, lambda *_: lambda _: None))  # type: ignore[arg-type]
    shown = [figure["id"] for figure in json.loads(body)["plotly_graph_objects"]]
    assert len(shown) >= 4
    assert shown == [name for name in TITLES if name in shown]
    tables.close()
