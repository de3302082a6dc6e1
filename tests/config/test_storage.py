"""The database's URL: where it comes from, and where its password does."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Run
from hypothesis import example, given
from hypothesis import strategies as st
from pasted_commands import pasted, variables_of
from sqlalchemy.engine import make_url

from lrsearch.cli.compose import load_configuration, load_settings
from lrsearch.config.storage import command_on, left_out_options, storage_url
from lrsearch.errors import ConfigErrors
from lrsearch.text.redaction import forget, redacted
from lrsearch.text.shell import with_setting

# What a password must survive: the characters that mean something in a URL.
PASSWORD = "p@ss:w/ü%20#?"


def complete(url: str) -> str:
    """A URL that has no problems, as it will be used."""
    problems: list[str] = []
    found = storage_url({"url": url}, problems)
    assert problems == []
    return found


@pytest.fixture
def password_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A secret file as `echo` writes one, named by the environment."""
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("LRSEARCH_STORAGE_PASSWORD_FILE", str(path))
    return path


@pytest.mark.usefixtures("password_file")
def test_the_file_gives_the_password_that_the_url_lacks_and_it_is_never_shown() -> None:
    url = complete("postgresql://me@host:5432/sweeps?sslmode=require")
    parts = make_url(url)
    assert parts.password == PASSWORD
    assert (parts.drivername, parts.host, parts.port) == ("postgresql+psycopg", "host", 5432)
    assert parts.query == {"sslmode": "require"}
    assert redacted(url) == "postgresql+psycopg://me:***@host:5432/sweeps?sslmode=require"


@pytest.mark.usefixtures("password_file")
def test_a_password_in_the_url_stays_and_a_file_of_sqlite_needs_none() -> None:
    assert make_url(complete("postgresql://me:own@host/x")).password == "own"
    assert complete("sqlite:///lrsearch.db") == "sqlite:///lrsearch.db"


@pytest.mark.usefixtures("password_file")
def test_a_sweep_gets_it_too_but_not_its_stored_configuration() -> None:
    made = load_configuration(["+sweep=digits", "storage.url=postgresql://me@host/x"])
    assert make_url(made.runtime.storage_url).password == PASSWORD
    assert PASSWORD not in repr(made)


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "\nlate\n"])
def test_a_file_without_one_line_is_refused_unseen(password_file: Path, text: str) -> None:
    password_file.write_text(text)
    problems: list[str] = []
    storage_url({"url": "postgresql://me@host/x"}, problems)
    (problem,) = problems
    assert "one line" in problem
    assert "late" not in problem
    assert "two" not in problem


def test_a_missing_file_is_a_problem_among_the_others(password_file: Path) -> None:
    password_file.unlink()
    with pytest.raises(ConfigErrors) as caught:
        load_settings(["+sweep=digits", "storage.url=postgresql://me@host/x", "workers=0"])
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 2
    assert f"LRSEARCH_STORAGE_PASSWORD_FILE: cannot read {password_file}" in problems


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hunter2", "is not a database URL"),
        ("oracel://me:hunter2@host/x", "cannot store in 'oracel'"),
        ("mysql+pymysql://me:hunter2@host/x", "cannot store in 'mysql': use PostgreSQL"),
        ("mariadb+mariadbconnector://me:hunter2@host/x", "cannot store in 'mariadb'"),
        ("oracle://me:hunter2@host/x", "cannot store in 'oracle'"),
        ("mssql+pyodbc://me:hunter2@host/x", "cannot store in 'mssql'"),
        ("cockroachdb://me:hunter2@host/x", "cannot store in 'cockroachdb'"),
        ("postgresql+psycopg2://me:hunter2@host/x", "write postgresql://"),
        ("postgresql+asyncpg://me:hunter2@host/x", "write postgresql://"),
        ("sqlite+aiosqlite:///hunter2.db", "write sqlite://"),
        ("postgresql://me:hunter2@host/x?prepare_threshold=often", "a whole number from 0"),
        ("postgresql://me:hunter2@host/x?prepare_threshold=-1", "a whole number from 0"),
        ("postgresql://me:hunter2@host/x?autocommit=true", "autocommit cannot be set"),
        ("postgresql://host/x?password=hunter2", "before the @"),
        ("postgresql://host/x?Password=hunter2", "before the @"),
        ("postgresql://me:first@hunter2@host/x", "written %40"),
        ("postgresql://me:p@hunter2/w:rd%@host/x", "written %40"),
        ("postgresql://me:p@hunter2?w@host/x", "written %40"),
        ("postgresql://me/hunter2@host/x", "written %40"),
        ("postgresql://host/x?sslpassword=hunter2", "sslpassword after the ? would be shown"),
        ("postgresql://host/x?api_key=hunter2", "api_key after the ? would be shown"),
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(url: str, said: str) -> None:
    problems: list[str] = []
    storage_url({"url": url}, problems)
    (problem,) = problems
    assert said in problem
    assert "hunter2" not in problem


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
@example("p@ss/w:rd%")
@example("a b")
@example("PASSWORD")
@example("%41")
def test_a_password_as_it_is_is_taken_whole_or_refused(raw: str) -> None:
    forget()
    problems: list[str] = []
    url = storage_url({"url": f"postgresql://me:{raw}@host/db"}, problems)
    if problems:
        assert raw not in problems[0] or len(raw) < 4
        return
    parts = make_url(url)
    assert (parts.username, parts.host, parts.database) == ("me", "host", "db")
    assert parts.password == make_url(f"postgresql://me:{raw}@host/db").password
    shown = "postgresql+psycopg://me:***@host/db"
    forget()  # by its form alone, as in a process that has learned nothing
    assert redacted(f"in {url}, {url!r}") == f"in {shown}, {shown!r}"


# Commands for other machines


@pytest.mark.parametrize(
    ("url", "variables", "place"),
    [
        ("sqlite:///lrsearch.db", {}, []),
        ("sqlite:///my db.db", {}, ["storage.url=sqlite:///my db.db"]),
        ("postgresql+psycopg://me@host/x", {}, ["storage.url=postgresql+psycopg://me@host/x"]),
        (
            "postgresql+psycopg://me:hunter2@host/x?sslmode=require",
            {"LRSEARCH_STORAGE_PASSWORD_FILE": "~/.lrsearch-password"},
            ["storage.url=postgresql+psycopg://me@host/x?sslmode=require"],
        ),
        (
            "postgresql+psycopg://me@host/x?options=-c%20a.b%3Dhunter2",
            {},
            ["storage.url=postgresql+psycopg://me@host/x"],
        ),
    ],
)
def test_a_command_on_a_database_names_its_password_file_instead_of_its_password(
    url: str, variables: dict[str, str], place: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LRSEARCH_STORAGE", "LRSEARCH_STORAGE_PASSWORD_FILE", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)
    line = command_on(url, "status", "a study")
    assert "hunter2" not in line
    assert "***" not in line
    assert pasted(line) == ["-m", "lrsearch", "status", "a study", *place]
    assert variables_of(line, *variables) == variables
    longer = with_setting(line, "study.timeout", "5")
    assert pasted(longer) == [*pasted(line), "study.timeout=5"]
    assert variables_of(longer, *variables) == variables
    assert left_out_options(url) == (["options"] if "options" in url else [])


def test_it_names_the_password_file_that_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = str(tmp_path / "a password")
    monkeypatch.setenv("LRSEARCH_STORAGE_PASSWORD_FILE", "a password")
    line = command_on("postgresql+psycopg://me:hunter2@host/x", "worker")
    assert variables_of(line, "LRSEARCH_STORAGE_PASSWORD_FILE") == {
        "LRSEARCH_STORAGE_PASSWORD_FILE": file
    }
    monkeypatch.setenv("PGPASSFILE", "a password")
    line = command_on("postgresql+psycopg://me@host/x", "worker")
    assert variables_of(line, "PGPASSFILE") == {"PGPASSFILE": file}
    assert "PASSFILE" not in command_on("mysql+pymysql://me@host/x", "worker")


def test_it_names_the_default_database_only_where_another_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LRSEARCH_STORAGE", "sqlite:///other.db")
    for url in ("sqlite:///lrsearch.db", "sqlite:///other.db"):
        assert f"storage.url={url}" in pasted(command_on(url, "status"))


@pytest.mark.slow
def test_an_unreachable_database_is_named_without_the_password_of_the_file(
    lrsearch: Run, password_file: Path
) -> None:
    done = lrsearch(
        "+sweep=digits",
        "storage.url=postgresql://me@127.0.0.1:1/db",
        LRSEARCH_STORAGE_PASSWORD_FILE=str(password_file),
    )
    assert done.returncode == 2
    assert "cannot use the database postgresql+psycopg://me:***@127.0.0.1:1/db" in done.stderr
    assert password_file.read_text().strip() not in done.stdout + done.stderr
