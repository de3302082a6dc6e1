"""Who may reach the dashboard: a guard around any WSGI application.

optuna-dashboard knows no users: whoever reaches it can delete a study or write a false best value.
No rule here depends on the path, so that no spelling of a path gets around one.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lrsearch.dashboard.clients import Network, PasswordCheck, client_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

USER = "lrsearch"
"""The only user name, for HTTP Basic authentication."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READING = ("GET", "HEAD")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
# What only a proxy may say: the dashboard would build its redirects from it.
_FORWARDED = re.compile(r"HTTP_(X_FORWARDED_.*|FORWARDED)")
_REPLACED = ("access-control-", "x-content-type-options", "referrer-policy", "x-frame-options")
_ALWAYS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "frame-ancestors 'self'"),
]
# The dashboard's pages bring their own policy. All else, artifacts too, is data and runs nothing.
_DATA_ONLY = ("Content-Security-Policy", "default-src 'none'; sandbox")


@dataclass(frozen=True)
class Rules:
    """Rules of access to the dashboard."""

    hosts: frozenset[str]
    """The names in the Host header that are answered, in lower case, without a port."""
    password: str | None = None
    """Checks passwords; None admits every client that can connect."""
    writable: bool = False
    """Whether methods other than GET and HEAD are allowed."""
    proxies: tuple[Network, ...] = ()
    """Proxies whose header X-Forwarded-For is trusted."""


@dataclass(frozen=True)
class Refusal:
    """A response in place of the application's."""

    status: str
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


class Guard:
    """A WSGI application that passes allowed requests on, and refuses all others."""

    def __init__(self, application: WSGIApplication, rules: Rules) -> None:
        self._application = application
        self._rules = rules
        self._check = None if rules.password is None else PasswordCheck(rules.password.encode())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refusal = refused(environ, self._rules, self._check)
        if refusal is None:
            for key in [key for key in environ if _FORWARDED.fullmatch(key)]:
                del environ[key]

            def guarded(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
                return start_response(status, safe_headers(headers), *error)

            return self._application(environ, guarded)
        body = (json.dumps({"reason": refusal.reason}) + "\n").encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *refusal.headers,
        ]
        start_response(refusal.status, safe_headers(headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def refused(environ: WSGIEnvironment, rules: Rules, check: PasswordCheck | None) -> Refusal | None:
    """Return the refusal of a request; None where it is allowed."""
    method = environ["REQUEST_METHOD"]
    host = environ.get("HTTP_HOST", "").lower()
    match = _HOST.fullmatch(host)
    # A page of another site can point its own name at this address; it cannot change the header.
    if match is None or match[1] not in rules.hosts:
        return Refusal(
            "400 Bad Request",
            f"this dashboard answers to {', '.join(sorted(rules.hosts))} only; "
            f"for another name start it with --allowed-host NAME",
        )
    if _from_another_site(environ, host):
        return Refusal("403 Forbidden", "requests from other sites are refused")
    if check is not None and (refusal := _unknown(environ, rules, check)):
        return refusal
    if method not in _READING and not rules.writable:
        return Refusal(
            "403 Forbidden",
            f"this dashboard is read-only and takes no {method}; "
            f"to change studies in it, start it with --writable",
        )
    return None


def _from_another_site(environ: WSGIEnvironment, host: str) -> bool:
    """Whether a browser says that another site's page sends this; following a link is allowed."""
    origin = environ.get("HTTP_ORIGIN")
    # A proxy in front may speak https, so the scheme is not compared.
    if origin is not None and re.sub("^https?://", "", origin.lower()) != host:
        return True
    if environ.get("HTTP_SEC_FETCH_SITE", "none") in ("none", "same-origin"):
        return False
    return not (
        environ["REQUEST_METHOD"] in _READING
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
    )


def _unknown(environ: WSGIEnvironment, rules: Rules, check: PasswordCheck) -> Refusal | None:
    """Return the refusal for a missing or wrong password; None for the right one."""
    peer = environ.get("REMOTE_ADDR", "")
    client = client_of(peer, environ.get("HTTP_X_FORWARDED_FOR"), rules.proxies) or peer
    wait = check.check(client, _given(environ))
    if wait is None:
        return None
    if wait > 0:
        return Refusal(
            "429 Too Many Requests",
            "too many wrong passwords; try again later",
            (("Retry-After", str(math.ceil(wait))),),
        )
    return Refusal(
        "401 Unauthorized",
        f"the password is missing or wrong; the user is {USER}",
        (("WWW-Authenticate", f'Basic realm="{USER}", charset="UTF-8"'),),
    )


def _given(environ: WSGIEnvironment) -> bytes | None:
    """The password that a request carries, as HTTP Basic or as a bearer token.

    None where it carries none. What cannot be read, or is of another user, is a wrong one.
    """
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if not scheme:
        return None
    if scheme.lower() == "bearer":
        return bytes(given.strip().encode("latin-1"))
    try:
        decoded = base64.b64decode(given.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
    user, _, password = decoded.partition(b":")
    return password if scheme.lower() == "basic" and user == USER.encode() else b""


def safe_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """An answer's headers: nothing for other origins, redirects to own pages, and ours added."""
    kept = []
    has_policy = False
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(_REPLACED):
            continue
        has_policy |= lower == "content-security-policy"
        # Behind a proxy the application knows neither scheme nor port: a path is right anywhere.
        kept.append((name, urlsplit(value).path if lower == "location" else value))
    return [*kept, *_ALWAYS, *([] if has_policy else [_DATA_ONLY])]
