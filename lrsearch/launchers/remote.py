"""What workers on other machines need: a database that they reach, and its password by file."""

from __future__ import annotations

import ipaddress

from sqlalchemy.engine import URL, make_url

from lrsearch.config.storage import left_out_options, public_url
from lrsearch.errors import UserError
from lrsearch.storage.file_systems import file_system_of, is_shared
from lrsearch.storage.sqlite import file_of
from lrsearch.text.redaction import redacted


def unreachable(url: str) -> str | None:
    """Return why workers on other machines cannot use a database; None if they may."""
    if (file := file_of(url)) is not None:
        kind = file_system_of(file.parent)
        lies = (
            f"{kind}, where it loses data when several machines write"
            if is_shared(kind)
            else f"a disk of this machine alone{f' ({kind})' if kind else ''}"
        )
        return f"SQLite's file {file} lies on {lies}; use a PostgreSQL server"
    hosts = _hosts(make_url(url))
    if local := [host for host in hosts if _is_local(host)]:
        return f"{local[0] or 'a socket'} is this machine, seen from itself; give its name"
    return None


def without_password(url: str) -> tuple[str, str | None]:
    """Return a URL that may be passed in the environment, and the password that it had.

    Raises UserError if it may have another secret, without which it would be another URL.
    """
    if secret := left_out_options(url):
        raise UserError(
            f"storage.url: {', '.join(secret)} of {redacted(url)} may hold a secret, which the "
            f"cluster would store and show; put it in a file that its driver reads, such as a "
            f"connection service file (PGSERVICEFILE)"
        )
    password = make_url(url).password
    return public_url(url), None if password is None else str(password)


def _hosts(url: URL) -> list[str]:
    """Return the hosts of a server; "" is the driver's default, a socket."""
    given = url.query.get("host", url.query.get("unix_socket", ()))
    more = [given] if isinstance(given, str) else list(given)
    hosts = [host for text in more for host in text.split(",")]
    return [*([url.host] if url.host else []), *hosts] or [""]


def _is_local(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host
    if name in ("", "localhost", "localhost.localdomain") or name.startswith(("/", "@")):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
