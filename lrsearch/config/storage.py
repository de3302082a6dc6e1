"""The database URL: checked and given its password in this one place, and shown without it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lrsearch.config.secrets import read_secret
from lrsearch.errors import UserError
from lrsearch.storage.server_options import check_options, refuse_unsupported
from lrsearch.text.hints import unknown
from lrsearch.text.redaction import is_secret_option, learn
from lrsearch.text.shell import command

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

DEFAULT_URL = "sqlite:///lrsearch.db"
STORAGE = "LRSEARCH_STORAGE"
"""The environment variable with the default URL of the database."""
PASSWORD_FILE = "LRSEARCH_STORAGE_PASSWORD_FILE"
USUAL_FILE = "~/.lrsearch-password"
"""The password file that printed commands name where the password was given without a file."""
_LIBPQ_FILE = "PGPASSFILE"
"""The variable with which libpq finds its password file elsewhere than at ~/.pgpass."""
# SQLAlchemy would look for another driver than the one that is installed with lrsearch.
_DRIVERLESS = re.compile(r"^postgres(ql)?://")
# In memory, which is each process's own, or a URI of SQLite's.
_NO_FILE = re.compile(r"$|:memory:|file:")
_PASSED_ON = frozenset({"options"})
"""Options that may hold a secret, but seldom do; they are never shown."""
_PLACEHOLDER = "PASSWORD"
_ADVICE = "such as sqlite:///lrsearch.db or postgresql+psycopg://user@host/name"


def storage_url(node: Mapping[str, Any], problems: list[str]) -> str:
    """The database URL of the section `storage`, complete with driver and password.

    A server's URL without a password gets the one in the file that LRSEARCH_STORAGE_PASSWORD_FILE
    names. So do not show the result as it is; `redacted` knows its secrets after this call.
    """
    known = ("url", "checkpoints")
    problems.extend(f"storage.{key}: {unknown(key, known)}" for key in node if key not in known)
    learn(str(node.get("url")))
    try:
        url = _complete(str(node.get("url")))
    except UserError as error:
        problems.append(str(error))
        return ""
    learn(url)
    return url


def _complete(given: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    text = _DRIVERLESS.sub("postgresql+psycopg://", given)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The text itself may hold a password.
        raise UserError(f"storage.url is not a database URL {_ADVICE}") from None
    backend, _, driver = url.drivername.partition("+")
    refuse_unsupported(backend, driver)
    if url.get_backend_name() == "sqlite" and _NO_FILE.match(url.database or ""):
        raise UserError(
            "storage.url: SQLite needs the path of a file, which all workers open: "
            "sqlite:///lrsearch.db"
        )
    if url.get_backend_name() == "sqlite" and "?" in text:
        raise UserError(
            "storage.url: SQLite takes no options behind a ?; in the name of a file write it as "
            "%3F: sqlite:///what%3F.db"
        )
    if url.get_backend_name() == "sqlite":
        return text
    # Wherever it is split, a part of the password would be taken for the host or the database.
    if text.count("@") > (url.username is not None or url.password is not None):
        raise UserError(
            f"storage.url: there are several @, or one after the host; one that belongs to the "
            f"password, or to a name, is written %40 (a : as %3A, a / as %2F, a % as %25); or "
            f"leave the password out and put it in a file that {PASSWORD_FILE} names, as it is"
        )
    if secret := [key for key in url.query if is_secret_option(key) and key not in _PASSED_ON]:
        raise UserError(
            f"storage.url: {', '.join(secret)} after the ? would be shown; put the password before "
            f"the @, or in a file that {PASSWORD_FILE} names, and other secrets in a connection "
            f"service file of libpq (PGSERVICEFILE, and ?service=NAME in the URL)"
        )
    check_options(url.query)
    file = os.environ.get(PASSWORD_FILE)
    if file and not url.password:
        url = url.set(password=read_secret(file, PASSWORD_FILE))
    return _with_password(url)


def _with_password(url: URL) -> str:
    """Return a URL as text, with every special character of the password encoded.

    SQLAlchemy leaves spaces as they are, at which other programs would end the URL.
    """
    if not url.password:
        return url.render_as_string(hide_password=False)
    shown = url.set(password=_PLACEHOLDER).render_as_string(hide_password=False)
    return shown.replace(f":{_PLACEHOLDER}@", f":{quote(str(url.password), safe='')}@", 1)


def public_url(url: str) -> str:
    """Return a database URL without its password and without options that may hold a secret."""
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    if parts.get_backend_name() == "sqlite":
        return url
    without = parts._replace(password=None).difference_update_query(left_out_options(url))
    return without.render_as_string()


def left_out_options(url: str) -> list[str]:
    """Return the names of the options that `public_url` leaves out."""
    from sqlalchemy.engine import make_url

    return [name for name in make_url(url).query if is_secret_option(name)]


def password_variables(url: str) -> dict[str, str]:
    """Return the environment variables with which `public_url` is as good as the URL.

    They name a file with the password: the one that is in use on this machine, or where the URL
    itself holds the password, `USUAL_FILE`. Empty where the database needs no password, or libpq
    finds it at ~/.pgpass.
    """
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    if parts.password:
        file = os.environ.get(PASSWORD_FILE)
        return {PASSWORD_FILE: _absolute(file) if file else USUAL_FILE}
    if parts.get_backend_name() == "postgresql" and (file := os.environ.get(_LIBPQ_FILE)):
        return {_LIBPQ_FILE: _absolute(file)}
    return {}


def command_on(url: str, *words: str) -> str:
    """Return a command on a database, for a shell on any machine that reaches it.

    It names no password, but the file with the password. The default database is not named.
    """
    is_default = url == DEFAULT_URL and STORAGE not in os.environ
    place = [] if is_default else [f"storage.url={public_url(url)}"]
    return command(*words, *place, environment=password_variables(url))


def _absolute(file: str) -> str:
    return str(Path(file).expanduser().absolute())
