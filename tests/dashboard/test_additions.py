"""What is added to the pages of Optuna's dashboard, without a browser."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from told_sweep import ToldSweep

from lrsearch.dashboard.additions import Additions
from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.storage.sqlite import file_of

PAGE = b"<!DOCTYPE html><html lang='en'><head><title>t</title></head><body>b</body></html>"
Ask = Callable[..., tuple[str, dict[str, str], bytes]]


def asking(tables: OwnTables, writable: bool = False) -> Ask:
    """Asks a dashboard of one page."""
    seen: list[dict[str, Any]] = []

    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response(
            "200 OK",
            [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE))), ("ETag", '"1"')],
        )
        return [PAGE]

    application = Additions(page, tables, writable)  # type: ignore[arg-type]

    def ask(path: str, method: str = "GET", **more: str) -> tuple[str, dict[str, str], bytes]:
        begun: list[Any] = []
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(), **more}
        body = b"".join(application(environ, lambda *answer: begun.append(answer)))  # type: ignore[arg-type,func-returns-value]
        status, headers = begun[-1][:2]
        return status, {name.lower(): value for name, value in headers}, body

    return ask


@pytest.fixture
def tables(sweep: ToldSweep) -> OwnTables:
    return OwnTables(sweep.url)


def test_a_page_has_the_style_sheet_and_the_script(tables: OwnTables) -> None:
    for path in ("/dashboard", "/dashboard/studies/1/note"):
        status, headers, body = asking(tables)(path, HTTP_IF_NONE_MATCH='"1"')
        assert status == "200 OK"
        assert b'<html class="read-only"' in body
        assert body.index(b"/lrsearch/page.css") < body.index(b"</head>")
        assert int(headers["content-length"]) == len(body)
        assert "etag" not in headers  # or a browser would keep the page without them
    assert b"read-only" not in asking(tables, writable=True)("/dashboard")[2]


def test_everything_else_passes_as_it_is(tables: OwnTables) -> None:
    for path, method in (("/api/studies", "GET"), ("/dashboard", "HEAD"), ("/dashboardx", "GET"),
                         ("/lrsearch/other", "GET"), ("/lrsearch/studies", "POST")):  # fmt: skip
        assert asking(tables)(path, method)[2] == PAGE


def test_files_and_numbers_are_served(tables: OwnTables, sweep: ToldSweep) -> None:
    sweep.trial(0.5)
    ask = asking(tables)
    assert ask("/lrsearch/page.css")[1]["content-type"].startswith("text/css")
    assert ask("/lrsearch/page.js")[1]["content-type"].startswith("text/javascript")
    (card,) = json.loads(ask("/lrsearch/studies")[2])
    assert card["id"] == sweep.study_id
    assert json.loads(ask(f"/lrsearch/studies/{sweep.study_id}/outcomes")[2]) == {}
    tables.close()


def test_a_database_without_sweeps_has_no_cards(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    file = file_of(url)
    assert file is not None
    file.touch()
    ask = asking(OwnTables(url))
    assert json.loads(ask("/lrsearch/studies")[2]) == []
    assert json.loads(ask("/lrsearch/studies/1/outcomes")[2]) == {}
