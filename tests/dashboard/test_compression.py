"""What the dashboard sends is compressed for whoever can read that, and the same for all others."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from lrsearch.dashboard.compression import compressed

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LONG = b'{"value": 0.125}' * 5_000


def asked(
    body: bytes, status: str = "200 OK", kind: str = "application/json", **environ: str
) -> tuple[dict[str, str], bytes]:
    """The headers and the body of an answer to a request with such an environment."""
    answered: list[dict[str, str]] = []

    def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # With the third argument, as Bottle gives it where there is no error.
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))], None)
        return [body[:7], body[7:]]

    def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        answered.append(dict(headers))

    pieces = compressed(application)({"REQUEST_METHOD": "GET", **environ}, start)
    return answered[0], b"".join(pieces)


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP;q=0.5", "deflate, gzip"])
def test_a_long_text_is_packed_for_a_client_that_reads_gzip(accepted: str) -> None:
    headers, body = asked(LONG, HTTP_ACCEPT_ENCODING=accepted)
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Vary"] == "Accept-Encoding"
    assert int(headers["Content-Length"]) == len(body) < len(LONG) / 10
    assert gzip.decompress(body) == LONG


@pytest.mark.parametrize(
    "request_of",
    [
        {},
        {"HTTP_ACCEPT_ENCODING": "br"},
        {"HTTP_ACCEPT_ENCODING": "gzip;q=0"},
        {"HTTP_ACCEPT_ENCODING": "gzip", "REQUEST_METHOD": "HEAD"},
        {"HTTP_ACCEPT_ENCODING": "gzip", "HTTP_RANGE": "bytes=0-9"},
        {"HTTP_ACCEPT_ENCODING": "gzip", "kind": "image/png"},
        {"HTTP_ACCEPT_ENCODING": "gzip", "status": "404 Not Found"},
    ],
    ids=repr,
)
def test_everything_else_stays_as_it_is(request_of: dict[str, str]) -> None:
    headers, body = asked(LONG, **request_of)
    assert "Content-Encoding" not in headers
    assert (headers["Content-Length"], body) == (str(len(LONG)), LONG)


def test_a_short_text_is_not_worth_it() -> None:
    headers, body = asked(b"{}", HTTP_ACCEPT_ENCODING="gzip")
    assert "Content-Encoding" not in headers
    assert body == b"{}"
