"""The guard alone: which requests pass, and what its answers carry."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from lrsearch.dashboard.access import LOOPBACK_NAMES, Guard, Rules
from lrsearch.dashboard.clients import networks

OPEN = Rules(hosts=LOOPBACK_NAMES)
CLOSED = replace(OPEN, password="schlüssel:7")
BASIC = "Basic " + base64.b64encode("lrsearch:schlüssel:7".encode()).decode()


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["reason"])

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


def ask(
    application: Callable[..., Any],
    method: str = "GET",
    path: str = "/",
    peer: str = "127.0.0.1",
    **headers: str | None,
) -> Answer:
    """One request; `sec_fetch_site="none"` is a header, `host=None` leaves one out."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": "",
        "SERVER_NAME": "x", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": peer,
        "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http",
    }  # fmt: skip
    for key, value in {"host": "localhost:8080", **headers}.items():
        if value is not None:
            environ[f"HTTP_{key.upper()}"] = value
    got: list[Any] = []
    body = application(environ, lambda status, fields, *_: got.extend((status, fields)))
    return Answer(int(got[0].split()[0]), got[1], b"".join(body))


def inside(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """An application that welcomes every origin, as the dashboard's artifacts do."""
    seen = ",".join(sorted(key for key in environ if "FORWARDED" in key))
    start_response(
        "200 OK",
        [("Content-Type", "text/plain"), ("Access-Control-Allow-Origin", "*"), ("X-Seen", seen)],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"inside"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_passes(method: str) -> None:
    assert ask(Guard(inside, OPEN), method).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
def test_all_else_is_refused_with_the_way_out_unless_writable(method: str) -> None:
    answer = ask(Guard(inside, OPEN), method)
    assert answer.status == 403
    assert "--writable" in answer.reason
    assert ask(Guard(inside, replace(OPEN, writable=True)), method).status == 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]", "[::1]:8080"],
)
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert ask(Guard(inside, OPEN), host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "evil.example:8080", "localhost.evil.example",
     "127.0.0.1.evil.example",
     "localhost@evil.example", "evil.example#localhost", "localhost, evil.example", "localhost:x",
     "localhost/", " localhost", "localhost\n", "127.0.0.2", "0.0.0.0", "[::2]", "*"],
)  # fmt: skip
def test_any_other_name_is_refused(host: str | None) -> None:
    answer = ask(Guard(inside, OPEN), host=host)
    assert answer.status == 400
    assert "--allowed-host" in answer.reason


@pytest.mark.parametrize(
    "given",
    [BASIC, BASIC.replace("Basic", "basic"), "Bearer " + "schlüssel:7".encode().decode("latin-1")],
)
def test_the_password_opens(given: str) -> None:
    assert ask(Guard(inside, CLOSED), authorization=given).status == 200


@pytest.mark.parametrize(
    "given",
    [None, "", "Basic", "Bearer", "Bearer ", "Basic  ", "Basic !!!", "Basic bHJzZWFyY2g6",
     BASIC[:-2], BASIC.replace("Basic", "Digest"), "Bearer " + BASIC.split()[1],
     "Basic " + base64.b64encode("root:schlüssel:7".encode()).decode(),
     "Basic " + base64.b64encode(b"\xff\xfe").decode(), "Bearer schlüssel:7"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_nothing_else_does(given: str | None, method: str) -> None:
    answer = ask(Guard(inside, replace(CLOSED, writable=True)), method, authorization=given)
    assert answer.status == 401
    assert answer.header("WWW-Authenticate") == ['Basic realm="lrsearch", charset="UTF-8"']
    assert b"schl" not in answer.body


def test_after_a_few_wrong_passwords_the_client_has_to_wait() -> None:
    guard = Guard(inside, replace(CLOSED, proxies=networks(["10.0.0.1"])))
    wrong = {"authorization": "Bearer wrong"}
    answers = [ask(guard, peer="203.0.113.1", **wrong) for _ in range(20)]
    late = next(answer for answer in answers if answer.status == 429)
    assert int(late.header("Retry-After")[0]) >= 1
    assert ask(guard, peer="203.0.113.1").status == 401  # a browser that asks for it
    assert ask(guard, peer="203.0.113.2", authorization=BASIC).status == 200
    behind = {"peer": "10.0.0.1", "x_forwarded_for": "198.51.100.1", **wrong}
    assert 429 in [ask(guard, **behind).status for _ in range(20)]
    other = {**behind, "x_forwarded_for": "198.51.100.2", "authorization": BASIC}
    assert ask(guard, **other).status == 200


@given(st.text(st.characters(max_codepoint=255, blacklist_categories=("Cc",)), max_size=40))
def test_no_authorization_makes_it_fail_or_opens_it(text: str) -> None:
    for scheme in ("", "Basic ", "Bearer "):
        assert ask(Guard(inside, CLOSED), authorization=scheme + text).status == 401


def fetched(site: str, mode: str = "cors", dest: str = "empty", **more: str) -> dict[str, str]:
    return {"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": dest, **more}


@pytest.mark.parametrize(
    "headers",
    [fetched("same-origin"), fetched("same-origin", origin="http://localhost:8080"),
     fetched("none", "navigate", "document"),
     fetched("cross-site", "navigate", "document"),
     {"origin": "https://localhost:8080"}],
)  # fmt: skip
def test_own_pages_typed_addresses_and_followed_links_pass(headers: dict[str, str]) -> None:
    assert ask(Guard(inside, OPEN), **headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [fetched("cross-site"), fetched("same-site"), fetched("cross-site", "no-cors", "script"),
     fetched("cross-site", "no-cors", "image"), fetched("cross-site", "navigate", "iframe"),
     fetched("cross-site", "navigate", "object"), fetched("anything"),
     fetched("cross-site", "navigate", "document", origin="null"),
     {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""},
     {"origin": "http://localhost:9999"}, {"origin": "http://localhost:8080.evil.example"},
     {"origin": "ftp://localhost:8080"}],
)  # fmt: skip
def test_what_other_sites_send_is_refused(headers: dict[str, str]) -> None:
    answer = ask(Guard(inside, OPEN), **headers)
    assert answer.status == 403
    assert "other sites" in answer.reason


def test_another_site_cannot_write_even_with_the_password_of_the_user() -> None:
    guard = Guard(inside, replace(CLOSED, writable=True))
    assert ask(guard, "POST", authorization=BASIC).status == 200
    for headers in (
        {"origin": "http://evil.example"},
        fetched("cross-site", "navigate", "document"),
        fetched("cross-site", "navigate", "document", origin="null"),
    ):
        assert ask(guard, "POST", authorization=BASIC, **headers).status == 403


def test_every_answer_is_closed_to_other_origins() -> None:
    for answer in (ask(Guard(inside, OPEN)), ask(Guard(inside, CLOSED))):
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]
        assert answer.header("X-Content-Type-Options") == ["nosniff"]
        assert answer.header("Referrer-Policy") == ["no-referrer"]
        assert answer.header("Cross-Origin-Resource-Policy") == ["same-origin"]
        assert answer.header("Content-Security-Policy") == [
            "frame-ancestors 'self'",
            "default-src 'none'; sandbox",
        ]


def test_what_only_a_proxy_may_say_is_not_believed() -> None:
    answer = ask(Guard(inside, OPEN), x_forwarded_host="evil.example", forwarded="host=evil")
    assert answer.header("X-Seen") == [""]


def test_a_redirect_leads_to_the_same_site_whatever_a_proxy_made_of_the_name() -> None:
    def redirects(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("302 Found", [("Location", "http://inner:1/dashboard")])
        return []

    assert ask(Guard(redirects, OPEN)).header("Location") == ["/dashboard"]


def test_an_artifact_of_the_real_dashboard_is_data_of_this_origin_only(tmp_path: Path) -> None:
    store = FileSystemArtifactStore(tmp_path)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    page = tmp_path / "page.html"
    page.write_text("<script>alert(1)</script>")
    artifact = upload_artifact(
        artifact_store=store, file_path=str(page), study_or_trial=study, mimetype="text/html"
    )
    bare = optuna_dashboard.wsgi(study._storage, store)
    path = f"/artifacts/{study._study_id}/{artifact}"
    assert ask(bare, path=path).header("Access-Control-Allow-Origin") == ["*"]
    answer = ask(Guard(bare, OPEN), path=path)
    assert (answer.status, answer.body) == (200, page.read_bytes())
    assert answer.header("Access-Control-Allow-Origin") == []
    assert "default-src 'none'; sandbox" in answer.header("Content-Security-Policy")
    assert ask(Guard(bare, OPEN), path=path, origin="http://evil.example").status == 403
    assert ask(Guard(bare, CLOSED), path=path).status == 401


def test_the_dashboards_pages_keep_their_own_policy() -> None:
    guard = Guard(optuna_dashboard.wsgi(optuna.storages.InMemoryStorage()), OPEN)
    policies = ask(guard, path="/dashboard").header("Content-Security-Policy")
    assert len(policies) == 2
    assert any("script-src 'self'" in policy for policy in policies)
    assert "frame-ancestors 'self'" in policies
