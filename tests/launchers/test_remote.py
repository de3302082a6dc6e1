"""Databases that other machines can reach, and passwords that leave a URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL, make_url

from lrsearch.errors import UserError
from lrsearch.launchers import remote
from lrsearch.launchers.remote import unreachable, without_password

SERVER = "postgresql+psycopg://me@"


@pytest.mark.parametrize(
    "url",
    [
        *(f"{SERVER}{host}/sweeps" for host in ("", "localhost", "127.0.0.1:5432", "127.1.2.3")),
        *(f"{SERVER}{host}/sweeps" for host in ("[::1]:5432", "0.0.0.0", "db.localhost")),
        f"{SERVER}/sweeps?host=/var/run/postgresql",
        f"{SERVER}/sweeps?host=db.example.org,localhost",
    ],
)
def test_a_server_that_is_named_as_this_machine_is_not_reached_from_others(url: str) -> None:
    assert unreachable(url) is not None


@pytest.mark.parametrize("host", ["db.example.org", "192.0.2.7:5432", "[2001:db8::7]", "login1"])
def test_a_server_with_a_name_or_an_address_may_be_reached(host: str) -> None:
    assert unreachable(f"{SERVER}{host}/sweeps") is None


@pytest.mark.parametrize("kind", ["ext4", "nfs4"])
def test_a_file_of_sqlite_is_refused_with_its_file_system(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "file_system_of", lambda path: kind)
    reason = unreachable(f"sqlite:///{Path('/data/x.db')}")
    assert reason is not None
    assert kind in reason
    assert "PostgreSQL" in reason


@given(st.text(min_size=1))
def test_a_url_loses_its_password_and_nothing_else(password: str) -> None:
    url = URL.create("postgresql+psycopg", "me", password, "db", 5432, "sweeps", {"sslmode": "on"})
    plain, taken = without_password(url.render_as_string(hide_password=False))
    assert taken == password
    assert make_url(plain).password is None
    assert make_url(plain)._replace(password=password) == url


def test_a_url_without_a_password_is_kept() -> None:
    assert without_password(f"{SERVER}db/sweeps") == (f"{SERVER}db/sweeps", None)


def test_another_secret_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(UserError) as refused:
        without_password(f"{SERVER}db/sweeps?sslpassword=hunter2hunter2")
    assert "hunter2" not in str(refused.value)
