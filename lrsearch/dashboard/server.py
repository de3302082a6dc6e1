"""Serving the dashboard: the socket, the storage, the guard around it."""

from __future__ import annotations

import logging
import signal
import socket
import warnings
from ipaddress import ip_address
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from lrsearch.dashboard.access import Guard, Rules
from lrsearch.dashboard.compression import compressed
from lrsearch.dashboard.connections import THREADS, Limits, Server
from lrsearch.dashboard.importances import OwnImportances
from lrsearch.errors import UserError
from lrsearch.storage.database import unusable
from lrsearch.storage.engine import engine_options
from lrsearch.storage.sqlite import file_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from lrsearch.storage.optuna_internals import ArtifactStore

_MOST_VALUES = 50_000
"""Largest number of points of all curves of a study together, on pages that show them."""


def is_loopback(host: str) -> bool:
    """Return whether a name or address to listen on can be reached from this machine only.

    Raises UserError when it is no address of this machine.
    """
    return ip_address(_resolve(host, 0)[1][0].partition("%")[0]).is_loopback


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises UserError when the port is taken or not allowed, or the address is not this machine's.
    """
    family, address = _resolve(host, port)
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host} port {port}: {error.strerror}; another port is --port N"
        ) from None


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise UserError(
            f"--host {host}: no such name; 127.0.0.1 is this machine only, 0.0.0.0 all networks"
        ) from None
    return family, (str(address[0]), int(address[1]))


def dashboard(url: str, artifacts: ArtifactStore) -> WSGIApplication:
    """Optuna's dashboard over a database, unguarded.

    Raises UserError when the database cannot be used.
    """
    import optuna
    import optuna_dashboard

    from lrsearch.dashboard.figure_order import put_in_order
    from lrsearch.dashboard.refresh import TITLES
    from lrsearch.storage.optuna_tables import make_tables, open_storage, require_tables
    from lrsearch.storage.optuna_trials import ColumnStorage

    # Optuna's warnings while it draws a page are of no use in the terminal.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module=r"optuna(_dashboard)?(\.|$)")
    options = engine_options(url, connections=THREADS)
    try:
        # A server's database may be empty yet: the dashboard may start before the first sweep.
        (require_tables if file_of(url) else make_tables)(url)
        storage = open_storage(ColumnStorage, url, options)
    except (SQLAlchemyError, ImportError) as error:
        raise unusable(url, error) from None
    storage.most_values = _MOST_VALUES
    # The cached storage: a refresh reads new trials only.
    put_in_order(tuple(TITLES))
    cached = optuna.storages.get_storage(storage)
    application: WSGIApplication = optuna_dashboard.wsgi(cached, artifact_store=artifacts)
    return compressed(OwnImportances(application, cached.get_study_system_attrs))


def serve(application: WSGIApplication, rules: Rules, listener: socket.socket) -> None:
    """Answers requests until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A page asks for several things at once; that they wait for each other is no warning.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    Server(Guard(application, rules), listener, Limits(), rules.proxies).run()
