"""`dashboard`: the studies of a database in a browser."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from lrsearch.cli.locations import read_locations
from lrsearch.config.secrets import read_secret
from lrsearch.dashboard.access import LOOPBACK_NAMES, USER, Rules
from lrsearch.dashboard.busy import Busy
from lrsearch.dashboard.clients import networks
from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.dashboard.server import dashboard, is_loopback, listen, serve
from lrsearch.errors import UserError
from lrsearch.storage.database import beside, existing
from lrsearch.text.redaction import redacted

_PASSWORD = "LRSEARCH_DASHBOARD_PASSWORD"


def show(
    arguments: Sequence[str],
    host: str,
    port: int,
    writable: bool,
    token_file: Path | None,
    allowed_hosts: Sequence[str],
    artifacts: Path | None,
    trusted_proxies: Sequence[str] = (),
) -> int:
    """Serve the dashboard until Ctrl-C or SIGTERM; return the exit code, 0.

    Raises UserError for a bad URL, address or password, and for other networks without a password.
    """
    try:
        locations, names = read_locations(arguments)
        if names:
            raise UserError(f"{names[0]!r}: the dashboard shows all studies of storage.url=...")
        password = _password(token_file)
        if password is None and not is_loopback(host):
            raise UserError(
                f"--host {host} lets others connect, so a password is needed: "
                f"--token-file FILE, {_PASSWORD}_FILE=FILE or {_PASSWORD}=..."
            )
        hosts = [f"[{name}]" if ":" in name else name for name in (host, *allowed_hosts)]
        rules = Rules(
            hosts=LOOPBACK_NAMES.union(name.lower() for name in hosts),
            password=password,
            writable=writable,
            proxies=networks(trusted_proxies),
        )
        url = existing(locations.url)
        _serve(url, artifacts or beside(url, "lrsearch-artifacts"), rules, host, port)
    except KeyboardInterrupt:
        pass  # before it could serve
    return 0


def _serve(url: str, artifacts: Path, rules: Rules, host: str, port: int) -> None:
    from lrsearch.dashboard.additions import Additions
    from lrsearch.dashboard.pictures import Artifacts
    from lrsearch.dashboard.refresh import Refresher

    tables, busy = OwnTables(url), Busy()
    pages = Additions(dashboard(url, Artifacts(tables, artifacts)), tables, rules.writable)
    application = busy.counted(pages)
    with listen(host, port) as listener:
        print(_announcement(url, listener, rules), flush=True)
        with Refresher(tables, lambda line: print(line, file=sys.stderr, flush=True), busy.wait):
            serve(application, rules, listener)
    tables.close()


def _password(token_file: Path | None) -> str | None:
    """The password, from a file or else the environment. Raises UserError if it is empty."""
    if token_file is not None:
        return read_secret(token_file, "--token-file")
    if file := os.environ.get(f"{_PASSWORD}_FILE"):
        return read_secret(file, f"{_PASSWORD}_FILE")
    password = os.environ.get(_PASSWORD)
    if password == "":
        raise UserError(f"{_PASSWORD} is empty: give it a value, or unset it")
    return password


def _announcement(url: str, listener: socket.socket, rules: Rules) -> str:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if listener.family == socket.AF_INET6 else host
    mode = "studies can be changed and deleted" if rules.writable else "read-only"
    access = f"user {USER} and the password" if rules.password else "no password"
    return (
        f"the dashboard of {redacted(url)} is at http://{address}:{port}/ "
        f"({mode}; {access}; Ctrl-C ends it)"
    )
