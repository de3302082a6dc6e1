"""What lrsearch adds to the pages of Optuna's dashboard: a style sheet and a script.

They hide what a read-only dashboard refuses, show the progress of each study in the list, name the
outcomes of trials, and fit the pages to a phone. The pages
themselves are Optuna's and stay as they are; what this expects of them is tested in a browser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from lrsearch.dashboard.cards import Cards, outcomes
from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.errors import UserError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_FOLDER = Path(__file__).parent
_FILES = {
    "/lrsearch/page.css": ("text/css; charset=utf-8", "page.css"),
    "/lrsearch/page.js": ("text/javascript; charset=utf-8", "page.js"),
}
_STUDIES = "/lrsearch/studies"
_OUTCOMES = re.compile(r"/lrsearch/studies/(\d{1,18})/outcomes")
_PAGES = re.compile(r"/dashboard(/.*)?")
_HEAD = '<link rel="stylesheet" href="/lrsearch/page.css"><script defer src="/lrsearch/page.js"></script>'  # fmt: skip  # noqa: E501
_CONDITIONS = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_RANGE", "HTTP_ACCEPT_ENCODING")


class Additions:
    """A WSGI application around Optuna's dashboard."""

    def __init__(self, application: WSGIApplication, tables: OwnTables, writable: bool) -> None:
        self._application, self._tables, self._writable = application, tables, writable
        self._cards = Cards()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] == "GET":
            if path in _FILES:
                kind, name = _FILES[path]
                return _answer(start_response, kind, (_FOLDER / name).read_bytes())
            if path == _STUDIES:
                return self._data(start_response, self._studies)
            if match := _OUTCOMES.fullmatch(path):
                study_id = int(match[1])
                return self._data(start_response, lambda: self._outcomes(study_id))
            if _PAGES.fullmatch(path):
                return self._page(environ, start_response)
        return self._application(environ, start_response)

    def _studies(self) -> list[dict[str, Any]]:
        database = self._tables.database()
        return [] if database is None else [card.to_json() for card in self._cards.read(database)]

    def _outcomes(self, study_id: int) -> dict[int, str]:
        database = self._tables.database()
        return {} if database is None else outcomes(database, study_id)

    def _data(self, start_response: StartResponse, read: Callable[[], object]) -> Iterable[bytes]:
        try:
            body = json.dumps(read()).encode()
        except (SQLAlchemyError, UserError):  # the page asks again
            return _answer(start_response, "application/json", b"null", "503 Service Unavailable")
        return _answer(start_response, "application/json", body)

    def _page(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A page of the dashboard with the style sheet and the script.

        It is always sent whole: a browser's copy may be from before the additions, or writable.
        """
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def remember(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            begun.append((status, headers))
            return lambda _: None

        plain = {key: value for key, value in environ.items() if key not in _CONDITIONS}
        answer = self._application(plain, remember)
        try:
            body = b"".join(answer)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        status, headers = begun[-1]
        if status.startswith("200"):
            kind = "" if self._writable else ' class="read-only"'
            body = body.replace(b"<html", f"<html{kind}".encode(), 1)
            body = body.replace(b"</head>", f"{_HEAD}</head>".encode(), 1)
        dropped = ("content-length", "last-modified", "etag", "cache-control")
        kept = [(name, value) for name, value in headers if name.lower() not in dropped]
        length = ("Content-Length", str(len(body)))
        start_response(status, [*kept, length, ("Cache-Control", "no-store")])
        return [body]


def _answer(
    start_response: StartResponse, kind: str, body: bytes, status: str = "200 OK"
) -> Iterable[bytes]:
    start_response(
        status,
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ],
    )
    return [body]
