"""What counts as a secret, and that no route to the screen, to a file or to a row shows one."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from command_line import Command
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lrsearch.text.redaction import (
    GuardedOutput,
    forget,
    guard_output,
    has_credentials,
    learn,
    learn_secrets,
    redacted,
)

SECRET = "tr0ub4dor"
"""What no route may show; `SPECIAL` has the characters that mean something in URLs and shells."""
SPECIAL = "tr0ub4dor/&3?#:%'x y"
NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    forget()


# By its form


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:se@cr:et/x@host/db", "postgresql://me:***@host/db"),
        ("storage.url=mysql://u:p@h:33/d", "storage.url=mysql://u:***@h:33/d"),
        ("postgresql://me@corp:pw@host/db", "postgresql://me@corp:***@host/db"),
        ("'postgresql://me:pw@host/db' and more", "'postgresql://me:***@host/db' and more"),
        ("simplecache::s3://KEY:pw@bucket/x", "simplecache::s3://KEY:***@bucket/x"),
        ("https://TOKEN@example.org/x", "https://***@example.org/x"),
        ("postgresql://h/d?sslmode=require&sslpassword=pw", "postgresql://h/d?sslmode=require&sslpassword=***"),
        ("postgresql://h/d?options=-c%20x%3Dpw", "postgresql://h/d?options=***"),
        ("postgresql://h/d?Password=pw", "postgresql://h/d?Password=***"),
        ("postgresql://h/d?p%61ssword=pw", "postgresql://h/d?p%61ssword=***"),
        ("mssql://?odbc_connect=PWD%3Dpw", "mssql://?odbc_connect=***"),
        ("https://example.org/x?api_key=pw&page=2", "https://example.org/x?api_key=***&page=2"),
        ("host=h password=pw user=u", "host=h password=*** user=u"),
    ],
)  # fmt: skip
def test_a_secret_is_known_by_its_place(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    ["sqlite:///x.db", "sqlite:////home/a:b/x@y.db", "postgresql://me@host/db", "s3://bucket/x",
     "https://example.org:8080/x?page=2&key_frame=3", "model.max_tokens=512 lr=0.1", "a@b.org",
     "postgresql://h/d?sslmode=require&keepalives_idle=3&sslkey=/a/key.pem",
     "12:30 me@host", ""],
)  # fmt: skip
def test_all_else_stays_as_it_is(text: str) -> None:
    learn(text)
    assert redacted(text) == text
    assert not has_credentials(text)


@pytest.mark.parametrize(
    "url",
    ["s3://KEY:pw@bucket", "https://token@host", "http://host/?token=x", "sftp://me:pw@host/x"],
)
def test_a_url_with_credentials_is_told_from_others(url: str) -> None:
    assert has_credentials(url)
    assert has_credentials(f"see {url} there")


# By its value


@given(st.text(st.characters(codec="utf-8"), min_size=6, max_size=30))
@example(SPECIAL)
@example("a@b@c:d/e")
@example("******")
def test_a_secret_that_is_known_is_replaced_however_it_is_written(secret: str) -> None:
    if secret.isdigit() or set(secret) == {"*"}:
        return
    forget()
    learn_secrets([secret])
    for written in (secret, quote(secret, safe=""), repr(secret), json.dumps(secret)):
        assert secret not in redacted(f"error: <{written}>")
        assert quote(secret, safe="") not in redacted(f"error: <{written}>")


@pytest.mark.parametrize(
    "given",
    [f"storage.url=postgresql://me:{SECRET}@host/db",
     f"storage.url='postgresql://me:{quote(SPECIAL, safe='')}@host/db'",
     f"storage.url=postgresql://me:{SPECIAL}@host/db",
     f"storage.url=postgresql:me:{SECRET}@host/db",
     f"storage.url=postgresql:/me:{SECRET}@host/db", f"me:{SECRET}@host/db",
     f"postgresql://host/db?sslpassword={SECRET}", f"host=h password={SECRET}",
     f"postgresql://me:begin@{SECRET}@host/db", f"https://{SECRET}@host"],
)  # fmt: skip
def test_the_secrets_of_an_argument_are_learned(given: str) -> None:
    learn(given)
    for said in (given, repr(given), f"could not resolve host {given.partition('me:')[2]}"):
        assert "tr0ub4dor" not in redacted(said)


def test_bytes_that_are_no_text_make_nothing_fail() -> None:
    learn("storage.url=postgresql://me:tr0ub4dor\udcff@host/db")
    assert redacted("it is tr0ub4dor\udcff") == "it is ***"


def test_a_password_that_is_a_common_word_breaks_no_other_words() -> None:
    for url in (
        "postgresql://postgres:postgres@host/postgres",
        "postgresql://lrsearch:lrsearch@db/lrsearch",
        "postgresql://me:one@host/db",
        "postgresql://me:12345678@host/db",
        "postgresql://me:complete@host/db",
    ):
        learn(url)
    said = "postgresql of lrsearch: one study, 12345678 steps, completed"
    assert redacted(said) == said


# Output


def test_whatever_is_written_passes_the_redaction(monkeypatch: pytest.MonkeyPatch) -> None:
    learn_secrets([SECRET])
    out, error = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    guard_output()
    guard_output()  # once more changes nothing
    print("a", SECRET)
    sys.stdout.writelines([SECRET])
    logging.StreamHandler().emit(logging.LogRecord("x", 40, "", 0, SECRET, None, None))
    try:
        raise ValueError(SECRET)
    except ValueError as raised:
        sys.excepthook(type(raised), raised, raised.__traceback__)
    assert SECRET not in out.getvalue() + error.getvalue()
    assert out.getvalue().count("***") == 2
    assert error.getvalue().count("***") == 2


def test_a_log_without_room_is_lost_and_other_output_is_not(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    log, output = (GuardedOutput(full.open("w"), expendable) for expendable in (True, False))
    for stream in (log, output):
        stream.write("a line\n")
    log.flush()
    with pytest.raises(OSError, match="No space left"):
        output.flush()
    for stream in (log, output):
        with contextlib.suppress(OSError):
            stream.close()


# Routes

URLS = {
    "a password": "postgresql://me:{}@{}/db",
    "a driver": "postgresql+psycopg://me:{}@{}/db",
    "no such driver": "postgresql+nothing://me:{}@{}/db",
    "no such database": "oracel://me:{}@{}/db",
    "no driver here": "mysql://me:{}@{}/db",
    "an @ in the password": "postgresql://me:first@{}@{}/db",
    "a slash is missing": "postgresql:/me:{}@{}/db",
    "no scheme": "me:{}@{}/db",
    "a bad port": "postgresql://me:{}@127.0.0.1:port/db",
    "sslpassword": "postgresql://me@{1}/db?sslpassword={0}",
    "password": "postgresql://{1}/db?password={0}",
    "Password": "postgresql://{1}/db?Password={0}",
    "options": "postgresql://{1}/db?options=-c%20a.b%3D{0}",
    "an unknown option": "postgresql://me:{}@{}/db?nonsense=1",
    "a connection string": "host={1} password={0}",
    "sqlite": "sqlite:///{1}?password={0}",
}
SWEEP = "+sweep=digits"
GIVEN: dict[str, Callable[[str], tuple[tuple[str, ...], dict[str, str]]]] = {
    "the key": lambda url: ((f"storage.url={url}",), {}),
    "a quoted key": lambda url: ((f"storage.url='{url}'",), {}),
    "an added key": lambda url: ((f"+storage.url={url}",), {}),
    "a forced key": lambda url: ((f"++storage.url={url}",), {}),
    "the environment": lambda url: ((), {"LRSEARCH_STORAGE": url}),
    "a typo": lambda url: ((f"storage.ulr={url}",), {}),
    "another typo": lambda url: ((f"storge.url={url}",), {}),
    "no key": lambda url: ((url,), {}),
    "two of them": lambda url: ((f"storage.url={url}", f"storage.url={url}x"), {}),
    "an option": lambda url: ((f"--storage.url={url}",), {}),
}
ONE, ANY = next(iter(URLS)), next(iter(GIVEN))
SWEEPS = [
    (SWEEP,),
    ("submit", SWEEP),
    (SWEEP, "dry_run=true"),
    (SWEEP, "--cfg", "job"),
    (SWEEP, "--cfg", "job", "--resolve"),
    (SWEEP, "--cfg", "job", "--package", "storage"),
    (SWEEP, "--cfg", "job", "--package", "storage.url"),
    ("--cfg", "all"),
    (SWEEP, "--cfg", "all"),
    (SWEEP, "--cfg", "hydra"),
    (SWEEP, "--cfg", "all", "--resolve"),
    (SWEEP, "--info", "config"),
    (SWEEP, "--info", "all"),
    (SWEEP, "--help"),
    (SWEEP, "--hydra-help"),
    (SWEEP, "--multirun"),
    (SWEEP, "--nonsense"),
    ("preview", SWEEP),
    ("range-test", SWEEP),
    ("doctor", SWEEP, "data.root=/nowhere"),
    ("doctor",),
]
COMMANDS = [
    ("status",), ("status", "x"), ("best", "x"), ("show", "x", "1"), ("compare", "x", "y"),
    ("export", "x", "--format", "csv"), ("train", "x"), ("try", "x", "lr=0.1"), ("report", "x"),
    ("pause", "x"), ("resume", "x"), ("stop", "x"), ("delete", "x", "--yes"), ("upgrade",),
    ("dashboard",), ("dashboard", "--port"), ("best", "x", "--trial"), ("sweeps",),
    ("completion",), ("complete", "--", "status"), ("export", "x", "--format"),
]  # fmt: skip


FEW = ((SWEEP,), (SWEEP, "--cfg", "all"), (SWEEP, "--cfg", "job"), ("status",))
Route = tuple[tuple[str, ...], str, str]
QUICK: set[Route] = {
    *itertools.product(COMMANDS, [ANY], [ONE]),
    *itertools.product([("--cfg", "all"), ("status",)], GIVEN, [ONE]),
    *itertools.product([("--cfg", "all"), ("status",)], [ANY], URLS),
}
"""Each command, each way and each kind of URL once."""
ALL: set[Route] = {
    *itertools.product((*SWEEPS, *COMMANDS), (ANY, "a typo", "no key"), [ONE]),
    *itertools.product(FEW, GIVEN, [ONE]),
    *itertools.product(FEW, (ANY, "the environment"), URLS),
}


@pytest.mark.parametrize("routes", [QUICK, pytest.param(ALL - QUICK, marks=pytest.mark.slow)])
def test_no_route_shows_or_writes_the_secret(
    command: Command, tmp_path: Path, routes: set[Route]
) -> None:
    shown: list[str] = []
    for words, way, kind in sorted(routes):
        forget()
        arguments, environment = GIVEN[way](URLS[kind].format(SECRET, NOWHERE))
        code, out, error = command(*words, *arguments, **environment)
        if SECRET in out + error or "Traceback" in out + error or code not in (0, 1, 2):
            shown.append(f"{words} {way} {kind}: {code} {out[-300:]}{error[-300:]}")
    assert shown == []
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


PARTS = st.lists(
    st.text("abcdefXYZ0123456789", min_size=3, max_size=8).map(lambda text: f"Q{text}z"),
    min_size=1,
    max_size=4,
)
SPECIALS = "@:/?#[]%&=+ '\"\\,;$!{}()|<>~^`*ü\n"
PASSWORDS = st.tuples(PARTS, st.text(SPECIALS, min_size=3, max_size=3)).map(
    lambda drawn: list(itertools.zip_longest(drawn[0], drawn[1][: len(drawn[0]) - 1], fillvalue=""))
)
"""Passwords as pairs of a part that means nothing and a special character after it."""
ENTRIES: dict[str, Callable[[str], tuple[tuple[str, ...], dict[str, str]]]] = {
    **GIVEN,
    "checkpoints": lambda url: ((f"storage.checkpoints={url}",), {}),
    "a value of one's own": lambda url: (("model._target_=x.y", f"+model.source={url}"), {}),
    "a list": lambda url: ((f"train.freeze=[{url}]",), {}),
    "checkpoints of the environment": lambda url: ((), {"LRSEARCH_CHECKPOINTS": url}),
}
SHORT = ((SWEEP,), (SWEEP, "--cfg", "job"), ("status",))
SCHEMES = ("postgresql", "postgresql+psycopg", "mysql", "https", "sftp", "oracel")


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    pieces=PASSWORDS,
    is_encoded=st.booleans(),
    scheme=st.sampled_from(SCHEMES),
    entry=st.sampled_from(sorted(ENTRIES)),
    words=st.sampled_from(SHORT),
)
@example(
    [("Qpqz", "@"), ("Qssz", "/"), ("Qwz1", ":"), ("Qrdz", "%")], False, SCHEMES[0], ANY, SHORT[0]
)
def test_no_entry_shows_a_part_of_a_password(
    command: Command, tmp_path: Path, pieces: list[tuple[str, str]], is_encoded: bool, scheme: str,
    entry: str, words: tuple[str, ...],
) -> None:  # fmt: skip
    password = "".join(itertools.chain(*pieces))
    written = quote(password, safe="") if is_encoded else password
    forget()
    arguments, environment = ENTRIES[entry](f"{scheme}://me:{written}@{NOWHERE}/db")
    code, out, error = command(*words, *arguments, **environment)
    assert code in (0, 1, 2)
    assert "Traceback" not in out + error
    assert [part for part, _ in pieces if part in out + error] == []
    for path in tmp_path.rglob("*"):
        text = path.read_bytes() if path.is_file() else b""
        assert not [part for part, _ in pieces if part.encode() in text], path
