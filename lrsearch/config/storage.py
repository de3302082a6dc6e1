"""The database URL: checked and given its password in this one place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from lrsearch.config.secrets import read_secret
from lrsearch.errors import UserError
from lrsearch.text.hints import unknown
from lrsearch.text.redaction import learn

PASSWORD_FILE = "LRSEARCH_STORAGE_PASSWORD_FILE"
# SQLAlchemy would look for another driver than the one that is installed with lrsearch.
_DRIVERLESS = re.compile(r"^postgres(ql)?://")
# In memory, which is each process's own, or a URI of SQLite's.
_NO_FILE = re.compile(r"$|:memory:|file:")
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
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    text = _DRIVERLESS.sub("postgresql+psycopg://", given)
    try:
        url = make_url(text)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        # The text itself may hold a password.
        raise UserError(f"storage.url is not a database URL {_ADVICE}") from None
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
    if "@" in (url.host or ""):
        raise UserError(
            f"storage.url: there are several @ before the host; one that belongs to the password "
            f"is written %40 (a : as %3A, a / as %2F, a % as %25); or leave the password out and "
            f"put it in a file that {PASSWORD_FILE} names, as it is"
        )
    if {"password", "passwd", "pwd"} & {key.lower() for key in url.query}:
        raise UserError(
            f"storage.url: a password after the ? would be shown; put it before the @, "
            f"or in a file that {PASSWORD_FILE} names"
        )
    secret = os.environ.get(PASSWORD_FILE)
    if not secret or url.password or url.get_backend_name() == "sqlite":
        return text
    url = url.set(password=read_secret(secret, PASSWORD_FILE))
    return url.render_as_string(hide_password=False)
