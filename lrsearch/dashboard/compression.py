"""Compression of the dashboard's responses: thousands of trials are megabytes of JSON."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_KINDS = ("application/json", "application/javascript", "text/")
_LEAST = 1 << 14
"""Smallest response in bytes that is compressed."""
_LEVEL = 3
"""Level of gzip: results are nearly as small as at level 6, in half the time."""
_GZIP = 16 + zlib.MAX_WBITS


def compressed(application: WSGIApplication) -> WSGIApplication:
    """Return the application with larger texts gzipped for clients that accept gzip."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def remember(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            if any(error):
                return start_response(status, headers, *error)
            begun.append((status, headers))
            return _refuse_writing

        body = application(environ, remember)
        if not begun:
            return body
        status, headers = begun[-1]
        if not _accepts(environ) or not _worth(status, headers):
            start_response(status, headers)
            return body
        try:
            packed = _packed(body)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        # The length is the packed one's; a cache must not give it to a client that cannot read it.
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(
            status,
            [
                *kept,
                ("Content-Encoding", "gzip"),
                ("Content-Length", str(len(packed))),
                ("Vary", "Accept-Encoding"),
            ],
        )
        return [packed]

    return answer


def _refuse_writing(_: bytes) -> None:
    raise NotImplementedError("the dashboard returns what it sends")


def _accepts(environ: WSGIEnvironment) -> bool:
    """Whether the client takes gzip, and wants the whole body."""
    if environ["REQUEST_METHOD"] != "GET" or "HTTP_RANGE" in environ:
        return False
    for item in environ.get("HTTP_ACCEPT_ENCODING", "").lower().split(","):
        coding, _, quality = item.partition(";")
        if coding.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _worth(status: str, headers: Iterable[tuple[str, str]]) -> bool:
    """Whether an answer is a text that is long enough and not encoded already."""
    known = {name.lower(): value for name, value in headers}
    return (
        status.startswith("200")
        and "content-encoding" not in known
        and known.get("content-type", "").startswith(_KINDS)
        and int(known.get("content-length", _LEAST)) >= _LEAST
    )


def _packed(body: Iterable[bytes]) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return b"".join([*(packer.compress(piece) for piece in body), packer.flush()])
